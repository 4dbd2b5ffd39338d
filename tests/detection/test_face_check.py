import numpy as np
import pytest
from PIL import Image

from ddl_tf.detection.detector import FoundFaces
from ddl_tf.detection.face_check import check_face, template_misfit
from ddl_tf.images.template import ARCFACE_TEMPLATE, similarity_transform


def moved(turn=0.0, scale=1.0, shift=(0.0, 0.0), points=ARCFACE_TEMPLATE):
    angle = np.radians(turn)
    matrix = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    return (points - 56) @ matrix.T + 56 + shift


def test_the_misfit_is_how_far_a_new_alignment_moves_the_template():
    assert template_misfit(ARCFACE_TEMPLATE) == pytest.approx(0, abs=1e-9)
    assert template_misfit(moved(shift=(3, -4))) == pytest.approx(5)
    # A turn by an angle moves a point by 2 r sin(angle / 2).
    radius = np.sqrt(np.mean(np.sum((ARCFACE_TEMPLATE - 56) ** 2, axis=1)))
    assert template_misfit(moved(turn=20)) == pytest.approx(2 * radius * np.sin(np.radians(10)))
    assert template_misfit(moved(scale=0.5)) == pytest.approx(radius)


def test_an_aligned_profile_has_no_misfit_although_its_points_are_far_from_the_template():
    profile = np.array([[30.0, 40], [45, 42], [70, 60], [40, 85], [50, 84]])
    matrix = similarity_transform(profile, ARCFACE_TEMPLATE)
    aligned = profile @ matrix[:, :2].T + matrix[:, 2]
    assert np.abs(aligned - ARCFACE_TEMPLATE).max() > 8
    assert template_misfit(aligned) == pytest.approx(0, abs=1e-9)


class Marks:
    """Finds a face where five pixels have the colours of the template's points; only from a number of looks on."""

    name = "marks"

    def __init__(self, look=0):
        self.looks, self.first = 0, look

    def find(self, image):
        self.looks += 1
        if self.looks <= self.first:
            return FoundFaces(np.empty([0, 4]), np.empty([0, 5, 2]), np.empty(0))
        # The middle of the pixels that have most of each colour; mirrored the eyes and corners change places.
        points = []
        for channel in COLOURS:
            weight = np.clip(image.astype(float) @ np.array(channel) - 255, 0, None) ** 2
            down, across = np.indices(weight.shape)
            points.append([np.sum(across * weight) / weight.sum(), np.sum(down * weight) / weight.sum()])
        points = np.array(points)
        if points[0, 0] > points[1, 0]:
            points = points[[1, 0, 2, 4, 3]]
        far = points + 30
        return FoundFaces(np.zeros([2, 4]), np.stack([far, points]), np.array([0.99, 0.9]))


COLOURS = [(2, -2, -2), (-2, 2, -2), (-2, -2, 2), (1, 1, -3), (-3, 1, 1)]
PAINT = [(255, 0, 0), (0, 255, 0), (0, 0, 255), (255, 255, 0), (0, 255, 255)]


def painted(points, side=112):
    image = np.zeros([side, side, 3], np.uint8)
    for (x, y), paint in zip(np.round(points * side / 112).astype(int), PAINT):
        image[y - 2 : y + 3, x - 2 : x + 3] = paint
    return image


@pytest.mark.parametrize("look", range(4))
def test_every_look_sees_the_same_face_and_the_best_one_counts(look):
    """At once, in the mirror, larger, and both."""
    detector = Marks(look)
    score, misfit = check_face(painted(ARCFACE_TEMPLATE), detector)
    assert detector.looks == look + 1
    assert score == 0.9
    assert misfit < 0.6
    _, misfit = check_face(painted(moved(shift=(10, 6))), Marks(look))
    assert misfit == pytest.approx(np.hypot(10, 6), abs=0.6)


def test_without_a_face_all_looks_are_taken():
    detector = Marks(4)
    score, misfit = check_face(painted(ARCFACE_TEMPLATE), detector)
    assert (score, detector.looks) == (0, 4)
    assert np.isnan(misfit)


def test_an_image_of_another_size_is_scaled():
    _, misfit = check_face(painted(ARCFACE_TEMPLATE, 224), Marks())
    assert misfit < 1


def test_mtcnn_finds_a_drawn_face_where_the_template_has_it():
    pytest.importorskip("mtcnn", reason="the extra [photos] is not installed")
    from ddl_tf.detection import MTCNNDetector
    from ddl_tf.synthetic.shots import render

    detector = MTCNNDetector(smallest_face=40)
    face = render(3, 0, 5, 112, aligned=True)[0]
    score, misfit = check_face(face, detector)
    assert score > 0.9
    assert misfit < 6
    turned = np.asarray(Image.fromarray(face).rotate(30))
    assert check_face(turned, detector)[1] > 15
    assert check_face(np.random.default_rng(0).integers(0, 256, [112, 112, 3]).astype(np.uint8), detector)[0] == 0
