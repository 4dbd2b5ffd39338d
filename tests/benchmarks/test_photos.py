from pathlib import Path

import numpy as np
import photos as benchmark
import pytest
from photos import FOUND, Settings, matches, overlaps, scene_results, write_scenes

from ddl_tf.detection import FoundFaces
from ddl_tf.images.template import ARCFACE_TEMPLATE


def test_overlaps_are_those_of_counted_pixels():
    rng = np.random.default_rng(0)
    corners = rng.integers(0, 20, (2, 5, 2, 2))
    first, second = (np.concatenate([corner.min(1), corner.max(1) + 1], axis=1) for corner in corners)

    def drawn(box):
        pixels = np.zeros([21, 21], bool)
        pixels[box[1] : box[3], box[0] : box[2]] = True
        return pixels

    expected = [[(drawn(a) & drawn(b)).sum() / (drawn(a) | drawn(b)).sum() for b in second] for a in first]
    np.testing.assert_allclose(overlaps(first, second), expected)


def test_a_box_is_matched_once_and_only_where_it_overlaps():
    boxes = np.array([[0, 0, 10, 10], [20, 0, 30, 10], [50, 50, 60, 60]], float)
    found = np.array([[21, 0, 31, 10], [1, 0, 11, 10], [2, 0, 12, 10], [90, 90, 99, 99]], float)
    rows, columns = matches(boxes, found, FOUND)
    assert dict(zip(rows.tolist(), columns.tolist())) == {0: 1, 1: 0}
    assert len(matches(boxes, np.empty([0, 4]), FOUND)[0]) == 0
    assert len(matches(boxes, found, 0.95)[0]) == 0


def test_what_a_detector_finds_is_counted():
    class Same:
        """Gives the same two faces for every photo."""

        name = "same"

        def find(self, image):
            points = np.array([ARCFACE_TEMPLATE + 20, ARCFACE_TEMPLATE * 2 + 400])
            boxes = np.array([[20, 20, 132, 132], [400, 400, 624, 624]], float)
            return FoundFaces(boxes, points, np.array([0.99, 0.5]))

    faces, false = scene_results(Settings(scenes=2), Same())
    assert len(faces) == 12
    assert faces["found"].sum() + len(false) == 4
    assert not faces.loc[~faces["found"], "usable"].any()
    assert false["usable"].sum() + faces["usable"].sum() <= 2
    assert (faces["error"].notna() == faces["found"]).all()


def test_photos_are_drawn_by_seed(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "KINDS", (("small", (160, 120), (1, 2)),))
    files = {}
    for name, seed in (("a", 1), ("b", 1), ("c", 2)):
        (tmp_path / name).mkdir()
        ((kind, paths),) = write_scenes(tmp_path / name, Settings(photos=2, seed=seed))
        assert kind == "small"
        files[name] = [Path(path).read_bytes() for path in paths]
    assert files["a"] == files["b"]
    assert files["a"] != files["c"]


@pytest.mark.parametrize("least", [0.5, 0.9])
def test_the_share_of_the_same_counts_faces_of_either(least):
    first = np.array([[0, 0, 100, 100], [200, 0, 300, 100]], float)
    second = first + [3, 0, 3, 0]
    assert len(matches(first, second, least)[0]) == 2
