import sys
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.detection import MTCNNDetector, mtcnn
from ddl_tf.synthetic.shots import render

peer = pytest.importorskip("mtcnn", reason="the extra [photos] is not installed")
build_scale_pyramid = pytest.importorskip("mtcnn.utils.images").build_scale_pyramid
# In the order of the template, by the names that the package gives them; left is the image's left.
NAMES = ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")


def scene(width, height, places, seed=0):
    """A picture of cloudy ground with drawn faces at (identity, side, left, top)."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(40, 220, (6, 8, 3), dtype=np.uint8)
    picture = Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC)
    for identity, side, left, top in places:
        picture.paste(Image.fromarray(render(identity, 0, 0, side)[0]), (left, top))
    return np.asarray(picture)


@pytest.fixture(scope="module")
def detector():
    return MTCNNDetector()


SCENES = [
    scene(400, 300, [(1, 160, 20, 40), (2, 90, 250, 120)]),
    scene(301, 243, [(5, 200, 33, 20)], seed=1),
    scene(160, 400, [(7, 96, 40, 20), (8, 110, 12, 240)], seed=2),
]


@pytest.mark.parametrize("number", range(len(SCENES)))
def test_faces_are_those_of_the_package(detector, number):
    """The package rounds boxes and points to whole pixels."""
    image = SCENES[number]
    expected = peer.MTCNN().detect_faces(image)
    found = detector.find(image)
    assert len(expected) == len(found.scores) > 0
    for face, box, points, score in zip(expected, *found):
        left, top, width, height = face["box"]
        np.testing.assert_allclose(box, [left, top, left + width, top + height], atol=1.01)
        np.testing.assert_allclose(points, [face["keypoints"][name] for name in NAMES], atol=0.51)
        assert score == pytest.approx(face["confidence"], abs=1e-4)


def test_there_are_as_many_levels_as_in_the_package(detector):
    """One more, which another rule gives at 112 pixels among other sides, changes which faces are found."""
    for side in range(40, 1601):
        expected = build_scale_pyramid(2000, side, min_face_size=20, scale_factor=0.709)
        np.testing.assert_allclose(detector._scales((side, 2000)), expected)


def test_the_package_names_points_in_an_order_of_its_own():
    """A dictionary read by position, or five x and five y read as pairs, would be another face."""
    face = peer.MTCNN().detect_faces(SCENES[1])[0]
    assert next(iter(face["keypoints"])) == "nose"
    numbers = peer.MTCNN().detect_faces(SCENES[1], output_type="numpy")[0][6:]
    by_name = np.array([face["keypoints"][name] for name in NAMES])
    np.testing.assert_allclose(numbers.reshape(2, 5).T, by_name, atol=0.51)


def test_a_larger_image_beside_it_changes_nothing_here_but_moves_the_boxes_of_the_package(detector):
    """The package pads a batch to the largest image; here every image is searched alone."""
    small, large = SCENES[1], SCENES[0]
    alone = peer.MTCNN().detect_faces(small)
    batch = peer.MTCNN().detect_faces([small, large])[0]
    assert [face["box"] for face in alone] != [face["box"] for face in batch]
    before = detector.find(small)
    detector.find(large)
    for first, second in zip(before, detector.find(small)):
        np.testing.assert_array_equal(first, second)


def test_a_larger_least_face_finds_the_larger_faces_where_the_package_finds_none():
    image = SCENES[0]
    assert peer.MTCNN().detect_faces(image, min_face_size=60) == []
    found = MTCNNDetector(smallest_face=60).find(image)
    assert len(found.scores)
    assert (found.boxes[:, 3] - found.boxes[:, 1]).min() >= 60


@pytest.mark.parametrize("size", [(1, 1), (11, 300), (12, 12), (40, 41)])
def test_an_image_without_a_face_has_none(detector, size):
    found = detector.find(np.full([*size, 3], 127, np.uint8))
    assert [result.shape for result in found] == [(0, 4), (0, 5, 2), (0,)]


def test_threads_find_what_one_thread_finds(detector):
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(detector.find, SCENES * 4))
    for image, result in zip(SCENES * 4, results):
        np.testing.assert_array_equal(detector.find(image).boxes, result.boxes)


def test_what_is_wrong_is_said(monkeypatch):
    with pytest.raises(InputError, match="smallest_face=11: must be at least 12"):
        MTCNNDetector(smallest_face=11)
    monkeypatch.setattr(mtcnn.importlib.metadata, "version", lambda name: "0.1.1")
    with pytest.raises(InputError, match=r"mtcnn 0\.1\.1 is installed, and 1\.0\.0 is needed"):
        MTCNNDetector()


def test_without_the_package_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "mtcnn.utils", None)
    with pytest.raises(InputError, match=r"pip install 'ddl_tf\[photos\]'"):
        MTCNNDetector()
