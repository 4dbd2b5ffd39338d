import io

import numpy as np
import pytest
from PIL import Image
from tiny_sets import damage_image, picture, samples, store

from ddl_tf.data.store import Faces
from ddl_tf.detection.detector import FoundFaces
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.mining import image_scan
from ddl_tf.mining.image_scan import scan_faces, scan_image


class Template:
    """Finds the template in every image but dark ones."""

    name = "template"

    def __init__(self):
        self.looks = 0

    def find(self, image):
        self.looks += 1
        count = int(image.mean() > 100)
        points = np.repeat((ARCFACE_TEMPLATE + 28)[np.newaxis], count, axis=0)
        return FoundFaces(np.zeros([count, 4]), points, np.full(count, 0.75))


def encoded(pixels, image_format="PNG", **options):
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, image_format, **options)
    return out.getvalue()


def test_the_digest_is_of_the_pixels_and_the_thumbnail_of_their_means():
    pixels = np.random.default_rng(0).integers(0, 256, [32, 32, 3]).astype(np.uint8)
    scan = scan_image(encoded(pixels), None)[0]
    again = scan_image(encoded(pixels, compress_level=9), None)[0]
    assert scan["digest"] == again["digest"]
    assert scan["pixels"] == 32 * 32
    grey = np.asarray(Image.fromarray(pixels).convert("L"), float)
    np.testing.assert_allclose(scan["thumbnail"], grey.reshape(16, 2, 16, 2).mean((1, 3)), atol=1)
    assert np.isnan(scan["face_score"])
    assert np.isnan(scan["misfit_px"])
    # One grey level more, and the same bytes in another shape, are other pictures.
    other = pixels.copy()
    other[0, 0, 0] ^= 1
    assert scan_image(encoded(other), None)[0]["digest"] != scan["digest"]
    assert scan_image(encoded(pixels.reshape(16, 64, 3)), None)[0]["digest"] != scan["digest"]


def test_what_the_detector_finds_is_kept():
    light = scan_image(encoded(np.full([112, 112, 3], 200, np.uint8)), Template())[0]
    assert light["face_score"] == 0.75
    assert light["misfit_px"] == pytest.approx(0, abs=1e-3)
    dark = scan_image(encoded(np.zeros([112, 112, 3], np.uint8)), Template())[0]
    assert dark["face_score"] == 0
    assert np.isnan(dark["misfit_px"])
    assert isinstance(scan_image(b"no image", Template()), str)


def test_an_interrupted_scan_goes_on_and_gives_the_same(tmp_path, monkeypatch):
    store(samples(10), tmp_path / "set")
    monkeypatch.setattr(image_scan, "PART", 4)
    faces, whole = Faces([str(tmp_path / "set")]), tmp_path / "whole"
    expected = scan_faces(faces, whole, Template())
    assert len(expected) == 10
    detector = Template()
    for part in sorted(whole.glob("part-*"))[1:]:
        part.unlink()
    np.testing.assert_array_equal(scan_faces(faces, whole, detector), expected)
    assert detector.looks >= 6
    assert [scan_image(picture(n), None)[0]["digest"] for n in range(10)] == expected["digest"].tolist()


def test_an_image_that_cannot_be_decoded_is_reported_and_has_no_pixels(tmp_path, capfd):
    store(samples(6), tmp_path / "set")
    damage_image(tmp_path / "set", 3)
    scan = scan_faces(Faces([str(tmp_path / "set")]), tmp_path / "parts", None)
    assert (scan["pixels"] == 0).tolist() == [False, False, False, True, False, False]
    assert "image 3 cannot be decoded" in capfd.readouterr().err
