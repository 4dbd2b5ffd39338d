import numpy as np
import pytest
from dotted_photos import DotDetector, dotted_picture, encoded, oriented
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.detection import FaceRules, FoundFaces, photo_faces
from ddl_tf.images.alignment import align_face
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.synthetic.shots import render


class Given:
    """A detector that gives faces at these shares of the image's width, whatever it is shown."""

    name = "given"

    def __init__(self, points, scores, width):
        self.points, self.scores, self.width = np.asarray(points, float), np.asarray(scores), width

    def find(self, image):
        self.shown = image.shape
        points = (self.points + 0.5) * image.shape[1] / self.width - 0.5
        # As boxes are: they reach beyond the points.
        middle, half = (points.min(1) + points.max(1)) / 2, np.ptp(points, axis=1)
        boxes = np.concatenate([middle - half, middle + half], axis=1)
        return FoundFaces(boxes, points, self.scores)


def template_at(left, top, side):
    return np.array([left, top]) + ARCFACE_TEMPLATE * (side / 112)


def photo_with_faces(size, *faces):
    """Smooth ground with drawn faces at (left, top, side): the picture, and where their templates lie."""
    rng = np.random.default_rng(0)
    picture = Image.fromarray(rng.integers(60, 200, (5, 7, 3), dtype=np.uint8)).resize(size, Image.Resampling.BICUBIC)
    for number, (left, top, side) in enumerate(faces):
        picture.paste(Image.fromarray(render(number, 0, 0, side)[0]), (left, top))
    return picture, np.array([template_at(*face) for face in faces])


def difference(first, second):
    return np.abs(np.asarray(first, int) - np.asarray(second, int)).mean()


@pytest.mark.parametrize("orientation", range(1, 9))
def test_landmarks_are_those_of_the_upright_photo_at_its_own_size(orientation):
    picture, points = dotted_picture((1000, 752), (620, 300), 300)
    detector = DotDetector()
    for side in (2000, 800, 400):
        (face,) = photo_faces(oriented(picture, orientation), detector, FaceRules(photo_side=side))
        assert max(detector.size) == min(side, 1000)
        np.testing.assert_allclose(face.landmarks, points, atol=1)
        np.testing.assert_allclose(face.box, [*points.min(0), *points.max(0)], atol=1)
        assert face.refused == ""
        assert face.eye_distance_px == pytest.approx(300 / 112 * 35.24, abs=1)
        assert face.central == pytest.approx(
            np.hypot(*((points.min(0) + points.max(0)) / 2 - [500, 376])) / 1251, abs=0.01
        )
        assert difference(face.crop, align_face(picture, points)) < 4


@pytest.mark.parametrize("side", [90, 150, 400, 900])
def test_a_crop_is_that_of_the_full_photo(side):
    """A face of several pixels for each of the crop is averaged first, where alignment of the full photo takes one."""
    picture, points = photo_with_faces((1400, 1000), (130, 60, side))
    (face,) = photo_faces(encoded(picture), Given(points, [1.0], 1400))
    averaged = picture.reduce(factor := max(1, int(side / 112)))
    assert difference(face.crop, align_face(averaged, (points[0] + 0.5) / factor - 0.5)) < 1.5
    assert difference(face.crop, align_face(picture, points[0])) < 4


def test_a_face_that_is_small_in_the_search_is_cut_out_of_all_pixels_that_the_file_has():
    picture, points = photo_with_faces((3200, 2400), (1500, 900, 160), (400, 300, 800))
    detector = Given(points, [1.0, 0.99], 3200)
    faces = photo_faces(encoded(picture), detector, FaceRules(photo_side=400))
    assert detector.shown == (300, 400, 3)
    coarse, small = [], picture.resize((400, 300), Image.Resampling.BOX)
    for face, place in zip(faces, points):
        np.testing.assert_allclose(face.landmarks, place, atol=0.01)
        full = difference(face.crop, align_face(picture, place))
        assert full < 4
        coarse.append(difference(face.crop, align_face(small, (place + 0.5) / 8 - 0.5)) / full)
    # The other one has about the pixels of the crop in the search, too.
    assert coarse[0] > 2


def test_without_a_face_there_is_none_and_twenty_are_twenty():
    picture = Image.new("RGB", (400, 300), "grey")
    assert photo_faces(encoded(picture), DotDetector()) == []
    points = [template_at(70 * (number % 5), 70 * (number // 5), 64) for number in range(20)]
    scores = np.random.default_rng(0).permutation(20) / 20
    faces = photo_faces(encoded(picture), Given(points, scores, 400), FaceRules(least_score=0.5))
    assert [face.score for face in faces] == sorted(scores.tolist(), reverse=True)
    assert [face.refused == "" for face in faces] == [True] * 10 + [False] * 10
    for face in faces:
        np.testing.assert_allclose(face.landmarks, points[np.flatnonzero(scores == face.score)[0]], atol=1e-9)


def test_what_is_refused_says_why():
    picture, _ = photo_with_faces((400, 300))
    good = template_at(100, 80, 100)
    points = [good, good, template_at(10, 10, 30), good[:, ::-1], np.full([5, 2], np.nan), np.full([5, 2], 7.0)]
    faces = photo_faces(encoded(picture), Given(points, [0.99, 0.7, 0.98, 0.97, 0.96, 0.95], 400))
    reasons = {round(face.score, 2): face.refused for face in faces}
    assert reasons[0.99] == ""
    assert reasons[0.7] == "unsure: score 0.70, where 0.9 is needed"
    assert reasons[0.98].startswith("too small: 19 px")
    assert "mirrored" in reasons[0.97]
    assert "too small" in reasons[0.96]
    assert "too small" in reasons[0.95]
    # Where there is no face, nothing is cut out.
    assert not next(face for face in faces if face.score == 0.96).crop.any()


def test_a_face_outside_of_the_photo_is_refused():
    picture, _ = photo_with_faces((400, 300))
    (face,) = photo_faces(encoded(picture), Given([template_at(1000, 1000, 100)], [1.0], 400))
    assert face.refused.startswith("outside of the image")
    assert not face.crop.any()


@pytest.mark.parametrize(
    ("rules", "line"),
    [
        ({"least_score": 1.1}, "the least score of a face must be between 0 and 1, got 1.1"),
        ({"least_score": float("nan")}, "between 0 and 1, got nan"),
        ({"least_side": -1}, "must be 0 pixels or more, got -1"),
        ({"photo_side": 111}, "searched at 112 pixels or more, got 111"),
    ],
)
def test_rules_have_bounds(rules, line):
    with pytest.raises(InputError, match=line):
        FaceRules(**rules)


@pytest.mark.parametrize(
    ("boxes", "landmarks", "scores"),
    [([2, 4], [2, 5, 2], [1]), ([2, 4], [2, 10], [2]), ([2, 5], [2, 5, 2], [2]), ([0], [0, 5, 2], [0])],
)
def test_a_detector_of_another_form_is_refused(boxes, landmarks, scores):
    class Other:
        name = "my own"

        def find(self, image):
            return FoundFaces(np.zeros(boxes), np.zeros(landmarks), np.zeros(scores))

    picture, _ = photo_with_faces((200, 200))
    with pytest.raises(InputError, match=r"the detector 'my own' gave .* give \[n, 4\], \[n, 5, 2\] and \[n\]"):
        photo_faces(encoded(picture), Other())


def test_a_damaged_photo_says_why():
    with pytest.raises(ValueError, match="it is empty"):
        photo_faces(b"", DotDetector())
