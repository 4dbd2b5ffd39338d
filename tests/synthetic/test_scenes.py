import dataclasses

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.images.pose import LANDMARK_COLUMNS, pose_from_landmarks
from ddl_tf.synthetic.conditions import Conditions
from ddl_tf.synthetic.drawing import draw_face
from ddl_tf.synthetic.landmarks import face_box, face_landmarks
from ddl_tf.synthetic.scenes import BOX_COLUMNS, Figure, draw_scene, render_scene
from ddl_tf.synthetic.traits import HAIR_STYLES, draw_traits

SMALL = {"size": (320, 240), "sides": (24, 60)}


def boxes(scene):
    return scene.faces[list(BOX_COLUMNS)].to_numpy()


def landmarks(scene):
    return scene.faces[list(LANDMARK_COLUMNS)].to_numpy().reshape(-1, 5, 2)


def changed_places(traits, first, second, size):
    """Where two drawings differ, weighted by how much: `[n, 2]` x, y and `[n]`."""
    pictures = [draw_face(traits, seen, size)[0].astype(int) for seen in (first, second)]
    weight = np.abs(pictures[0] - pictures[1]).sum(2)
    down, across = np.nonzero(weight > 30)
    return np.column_stack([across, down]), weight[down, across]


@pytest.mark.parametrize(
    "view", [{}, {"roll": 20.0}, {"yaw": 25.0}, {"shift_x": 0.2, "shift_y": -0.15, "scale": 0.8, "roll": -10.0}]
)
def test_landmarks_are_where_the_features_are_drawn(view):
    size, traits = 224, dataclasses.replace(draw_traits(2), hair_style="bald", hair=HAIR_STYLES["bald"])
    seen = Conditions(resolution=size, **view)
    points = face_landmarks(traits, seen, size)
    eye_distance = np.linalg.norm(points[1] - points[0])
    # Only the eyes change when they close, only the mouth when it opens.
    places, weights = changed_places(traits, seen, dataclasses.replace(seen, eye_open=0.3), size)
    nearest = np.linalg.norm(places[:, None] - points[None, :2], axis=2).argmin(1)
    for eye in (0, 1):
        middle = np.average(places[nearest == eye], axis=0, weights=weights[nearest == eye])
        assert np.linalg.norm(middle - points[eye]) < 0.08 * eye_distance
    places, weights = changed_places(traits, seen, dataclasses.replace(seen, mouth_open=1.0), size)
    middle = np.average(places, axis=0, weights=weights)
    assert np.linalg.norm(middle - points[3:].mean(0)) < 0.15 * eye_distance
    box = face_box(traits, seen, size)
    assert (points > box[:2]).all()
    assert (points < box[2:]).all()


def test_a_smile_moves_the_corners_of_the_mouth():
    traits = draw_traits(3)
    sad, glad = (face_landmarks(traits, Conditions(smile=smile), 200) for smile in (-1.0, 1.0))
    assert glad[4, 0] - glad[3, 0] > 1.1 * (sad[4, 0] - sad[3, 0])
    assert (glad[3:, 1] < sad[3:, 1]).all()
    np.testing.assert_array_equal(glad[:3], sad[:3])


def test_a_scene_follows_from_its_numbers():
    first, again = (render_scene([4, 5, 6], 2, 7, **SMALL) for _ in range(2))
    np.testing.assert_array_equal(first.image, again.image)
    assert first.faces.equals(again.faces)
    assert first.image.shape == (240, 320, 3)
    assert first.image.dtype == np.uint8
    for other in (render_scene([4, 5, 6], 3, 7, **SMALL), render_scene([4, 5, 6], 2, 8, **SMALL)):
        assert np.abs(first.image.astype(int) - other.image).mean() > 3


@pytest.mark.parametrize("scene", range(6))
def test_every_face_is_seen(scene):
    photo = render_scene(range(10 * scene, 10 * scene + 5), scene, **SMALL)
    places = boxes(photo)
    assert photo.faces["identity"].tolist() == list(range(10 * scene, 10 * scene + 5))
    assert (places[:, :2] >= 0).all()
    assert (places[:, 2:] <= [319, 239]).all()
    for number, (left, top, right, bottom) in enumerate(places):
        others = np.delete(places, number, 0)
        shared = np.clip(np.minimum(others[:, 2:], [right, bottom]) - np.maximum(others[:, :2], [left, top]), 0, None)
        assert (np.prod(shared, 1) < 0.1 * (right - left) * (bottom - top)).all()
    points = landmarks(photo)
    assert (points > places[:, None, :2]).all()
    assert (points < places[:, None, 2:]).all()
    np.testing.assert_allclose(np.linalg.norm(points[:, 1] - points[:, 0], axis=1), photo.faces["eye_distance_px"])
    assert np.abs(pose_from_landmarks(points).yaw - photo.faces["yaw"]).max() < 12


def test_who_is_nearer_hides_no_face_that_is_farther_away():
    """Each face is there as it is when it is drawn alone, but for the grain of the photo."""
    figures = [Figure(number, Conditions(resolution=112), 30.0 + 8 * number) for number in range(5)]
    photo = draw_scene(figures, 1, size=(320, 240))
    for row, figure in zip(boxes(photo).round().astype(int), figures):
        traits, side = draw_traits(figure.identity), np.min(row[2:] - row[:2])
        # Around the nose all is skin.
        left, top = row[:2]
        cheek = photo.image[
            int(top + 0.55 * side) : int(top + 0.7 * side), int(left + 0.4 * side) : int(left + 0.6 * side)
        ]
        hue = np.array(traits.skin) / np.sum(traits.skin)
        assert np.abs(cheek.mean((0, 1)) / cheek.mean((0, 1)).sum() - hue).max() < 0.04


def test_sizes_and_yaws_are_those_that_were_asked_for():
    photo = render_scene([1], 0, size=(640, 480), sides=(100, 100.001))
    assert np.min(boxes(photo)[0, 2:] - boxes(photo)[0, :2]) == pytest.approx(100, rel=0.2)
    yaws = np.concatenate([render_scene(range(4), scene, yaws=(30, 60), **SMALL).faces["yaw"] for scene in range(8)])
    assert 30 <= yaws.min() < 37
    assert 53 < yaws.max() <= 60


def test_where_there_is_no_room_people_are_smaller_and_at_last_refused():
    crowd = boxes(render_scene(range(12), 0, size=(320, 240), sides=(60, 60.001)))
    assert np.min(crowd[:, 2:] - crowd[:, :2]) < 40
    with pytest.raises(InputError, match="60 people: no room in 96 x 64 pixels; take fewer"):
        render_scene(range(60), 0, size=(96, 64), sides=(20, 30))
