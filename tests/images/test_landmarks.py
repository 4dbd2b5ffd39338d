import numpy as np
import pytest
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.images.alignment import align_face
from ddl_tf.images.landmarks import GENERIC_FACE, checked_lines, landmark_problem, list_problem
from ddl_tf.images.template import ARCFACE_TEMPLATE

GOOD = ARCFACE_TEMPLATE * 3 + 20
SIZE = (400, 400)
WRONG = {
    "left and right exchanged": (GOOD[[1, 0, 2, 4, 3]], "mirrored, the face fits better"),
    "y before x": (GOOD[:, ::-1], "mirrored, the face fits better"),
    "y upwards": (GOOD * [1, -1] + [0, 400], "mirrored, the face fits better"),
    "of the mirrored photo": (GOOD * [-1, 1] + [400, 0], "mirrored, the face fits better"),
    "shares of the image": (GOOD / 400, "a face of 0.4 pixels"),
    "of a photo twice as large": (GOOD * 2 + 500, "outside of the image"),
    "negative": (GOOD - 600, "outside of the image"),
    "eyes exchanged": (GOOD[[1, 0, 2, 3, 4]], "a poor fit"),
    "the nose first, as mtcnn's dictionary": (GOOD[[2, 0, 1, 3, 4]], "a poor fit"),
}


def test_landmarks_in_another_order_scale_or_axis_are_told():
    for points, reason in WRONG.values():
        assert reason in landmark_problem(points, SIZE)
        with pytest.raises(InputError, match=f"landmarks .*{reason}"):
            align_face(Image.new("RGB", SIZE), points)


def test_faces_of_any_roll_and_size_and_a_little_outside_of_the_image_are_taken():
    assert landmark_problem(GOOD - [GOOD[:, 0].min() + 20, 0], SIZE) is None
    for turn in np.radians(range(0, 360, 30)):
        rotation = np.array([[np.cos(turn), np.sin(turn)], [-np.sin(turn), np.cos(turn)]])
        for size in (0.2, 1.0):
            assert landmark_problem((ARCFACE_TEMPLATE - 56) @ rotation * size + 56, (112, 112)) is None


def profile(yaw, rng):
    """A face of a yaw to either side, of its own shape, with landmarks that are not exact, seen from near."""
    face = GENERIC_FACE + rng.normal(size=[5, 3]) * [0.06, 0.06, 0.09]
    yaw, pitch, roll = np.radians([yaw * rng.choice([-1, 1]), rng.uniform(-40, 40), rng.uniform(-180, 180)])
    around_y = [[np.cos(yaw), 0, np.sin(yaw)], [0, 1, 0], [-np.sin(yaw), 0, np.cos(yaw)]]
    around_x = [[1, 0, 0], [0, np.cos(pitch), -np.sin(pitch)], [0, np.sin(pitch), np.cos(pitch)]]
    around_z = [[np.cos(roll), -np.sin(roll), 0], [np.sin(roll), np.cos(roll), 0], [0, 0, 1]]
    turned = face @ (np.array(around_z) @ around_x @ around_y).T
    return (turned[:, :2] * (6 / (6 - turned[:, 2:])) + rng.normal(size=[5, 2]) * 0.04) * 60 + 200


@pytest.mark.parametrize("yaw", [0, 30, 75, 90])
def test_profiles_are_taken_and_most_wrong_orders_of_faces_from_the_front_are_found(yaw):
    rng = np.random.default_rng(yaw)
    faces = [profile(yaw, rng) for _ in range(500)]
    # docs/serving_gallery.md says: 0.2% at most.
    assert sum(landmark_problem(face, SIZE) is not None for face in faces) <= 1
    if yaw > 30:
        return
    # And there: so many of those in a wrong order, or more.
    for wrong, least in (
        (lambda face: face[[1, 0, 2, 4, 3]], 0.99),
        (lambda face: face[:, ::-1], 0.99),
        (lambda face: face[[0, 1, 2, 4, 3]], 0.99),
        (lambda face: face[[2, 0, 1, 3, 4]], 0.95),
        (lambda face: face[[0, 1, 3, 4, 2]], 0.90),
        (lambda face: face.T.reshape(5, 2), 0.94),
    ):
        assert np.mean([landmark_problem(wrong(face), SIZE) is not None for face in faces[:200]]) >= least


def test_a_list_is_refused_as_a_whole_and_not_for_a_single_face():
    good, bad = (GOOD, SIZE), (GOOD[[1, 0, 2, 4, 3]], SIZE)
    assert list_problem([good] * 9 + [bad]) is None
    assert list_problem([]) is None
    problem = "5 of 10 faces that were checked are bad: look whether the list is of these images; the first: mirrored"
    assert problem in list_problem([good, bad] * 5)
    assert "must be finite" in list_problem([(GOOD * np.nan, SIZE)])
    lines = checked_lines(469_375)
    assert (len(lines), lines[0], lines[-1], *checked_lines(3)) == (1000, 0, 469_374, 0, 1, 2)
