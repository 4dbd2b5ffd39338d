import functools
import io

import numpy as np
import pandas as pd
import pytest
from onnx_builder import SIDE
from PIL import Image
from quality_network import write_quality
from tiny_checkpoint import write_checkpoint

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.gallery import __main__ as command
from ddl_tf.gallery.enrolment_quality import POOR, EnrolmentQuality, failures_text
from ddl_tf.gallery.gallery import Gallery
from ddl_tf.gallery.photos import Photo
from ddl_tf.importers.source import Problem
from ddl_tf.mining.quality import measure_quality
from ddl_tf.runtimes.quality import OnnxQuality
from ddl_tf.synthetic.shots import render

RULE = "measured_brightness > 60 and red > 70"


def encoded(pixels):
    file = io.BytesIO()
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """The mean of the red channel."""
    path = write_quality(tmp_path_factory.mktemp("network") / "red.onnx")
    return OnnxQuality(path, mean=0, scale=1, column="red")


def test_photos_are_measured_and_refused_with_the_reason(network):
    random = np.random.default_rng(0)
    faces = [random.integers(0, top, [SIDE, SIDE, 3]).astype(np.uint8) for top in (100, 180, 256)]
    contents = [encoded(face) for face in faces]
    photos = [Photo(f"{place}.png", "anna") for place in range(3)]
    quality = EnrolmentQuality(RULE, network)
    measured = quality.measure(photos, contents)
    lights = [measure_quality(content)["measured_brightness"] for content in contents]
    expected = [(light, face[..., 0].mean()) for light, face in zip(lights, faces)]
    np.testing.assert_allclose([photo.quality for photo in measured], expected, rtol=1e-5)
    good, problems = quality.refuse_poor(measured)
    assert good.tolist() == [light > 60 and red > 70 for light, red in expected] == [False, True, True]
    light, red = expected[0]
    reason = f"measured_brightness {light:.4g}, red {red:.4g}, where {RULE} is asked for"
    assert problems == [Problem(POOR, "0.png", reason)]
    nothing, none = quality.refuse_poor([])
    assert (nothing.tolist(), none) == ([], [])


def test_what_a_network_cannot_tell_is_refused(network):
    broken = OnnxQuality(network.path, mean=0, scale=1e-36, column="red")
    quality = EnrolmentQuality("red > 0", broken)
    photos = quality.measure([Photo("a.png")], [encoded(np.full([SIDE, SIDE, 3], 200, np.uint8))])
    good, problems = quality.refuse_poor(photos)
    assert not good.any()
    assert problems[0].reason == "red is not known, where red > 0 is asked for"


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ("measured_sharpness > quantile(measured_sharpness, 0.2)", "depends on the other photos of the call"),
        ("sharp > 3", "there is no column 'sharp', but measured_image_px, .*; a learned one takes --quality_model"),
        ("measured_sharpness >", "cannot be read"),
        ("measured_sharpness + 3", "is not a comparison"),
    ],
)
def test_bad_rules(rule, message):
    with pytest.raises(InputError, match=message):
        EnrolmentQuality(rule)


def test_who_fails_to_enrol():
    problems = [Problem(POOR, "a", ""), Problem("corrupt image", "b", "")]
    text = failures_text(["anna", "anna", "ben", "carl"], ["anna", "carl"], problems)
    assert (
        text == "failure to enrol: 1 of 3 people (33.3% [6.1%, 79.2%]); refused for poor quality: 1 of 4 photos (25.0%)"
    )


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    path = tmp_path_factory.mktemp("model") / "model.keras"
    write_checkpoint(path)
    return str(path)


@pytest.fixture
def enroll(model, tmp_path, monkeypatch):
    """The command on photos of anna, who has a dark one, and ben, who has no other."""
    monkeypatch.setattr("ddl_tf.evaluation.load_embedding_model", functools.lru_cache(load_embedding_model))
    for number, person in enumerate(("anna", "ben")):
        (tmp_path / "people" / person).mkdir(parents=True)
        for place in range(2):
            pixels = render(identity=number, image=place, size=48)[0]
            dark = pixels // 8 if person == "ben" or place else pixels
            Image.fromarray(dark).save(tmp_path / "people" / person / f"{place}.png")
    shared = {"gallery": str(tmp_path / "gallery"), "model": model, "images": str(tmp_path / "people")}
    function, settings_class = command.COMMANDS["enroll"]
    return lambda **settings: function(settings_class(**shared, **settings))


def test_the_command_refuses_poor_photos(enroll, network, tmp_path, capsys):
    flags = {"quality_model": network.path, "quality_column": "red", "quality_mean": 0.0, "quality_scale": 1.0}
    listed = tmp_path / "problems.csv"
    assert enroll(quality_rule="measured_brightness > 40 and red > 40", **flags, problems=str(listed)) == 1
    out, err = capsys.readouterr()
    assert "failure to enrol: 1 of 2 people (50.0% [" in out
    assert "refused for poor quality: 3 of 4 photos (75.0%)" in out
    assert "enrolled 1 images of 1 people" in out
    assert "left out 3 of 4: 3 poor quality" in err
    assert pd.read_csv(listed)["kind"].tolist() == [POOR] * 3
    assert Gallery(str(tmp_path / "gallery")).people()["person"].tolist() == ["anna"]
    # Who is there already has not failed.
    assert enroll(quality_rule="measured_brightness > 40", existing="add") == 1
    assert "failure to enrol: 1 of 2 people" in capsys.readouterr().out


def test_where_all_are_poor_there_is_no_gallery(enroll, tmp_path, capsys):
    assert enroll(quality_rule="measured_brightness > 255") == 1
    out = capsys.readouterr().out
    assert "failure to enrol: 2 of 2 people" in out
    assert "no photo can be used, no gallery was made" in out
    assert not (tmp_path / "gallery").exists()


def test_flags_that_need_a_rule(enroll, network):
    with pytest.raises(InputError, match=r"--quality_model=.* would be ignored: it needs --quality_rule"):
        enroll(quality_model=network.path)
