import math

import numpy as np
import pytest

from ddl_tf.images.landmarks import GENERIC_FACE
from ddl_tf.images.pose import eye_distance_px, pose_from_landmarks
from ddl_tf.images.template import ARCFACE_TEMPLATE
from ddl_tf.synthetic.conditions import Conditions
from ddl_tf.synthetic.surface import Camera


def project(yaw, pitch, roll, scale=35.0, shift=(50.0, 60.0), face=GENERIC_FACE):
    """Turn the head by matrices: yaw, then pitch, then roll, as the camera of the synthetic faces does."""
    y, p, r = (math.radians(angle) for angle in (yaw, pitch, roll))
    turn_yaw = np.array([[math.cos(y), 0, math.sin(y)], [0, 1, 0], [-math.sin(y), 0, math.cos(y)]])
    turn_pitch = np.array([[1, 0, 0], [0, math.cos(p), -math.sin(p)], [0, math.sin(p), math.cos(p)]])
    turn_roll = np.array([[math.cos(r), -math.sin(r), 0], [math.sin(r), math.cos(r), 0], [0, 0, 1]])
    seen = face @ (turn_roll @ turn_pitch @ turn_yaw).T
    return scale * seen[:, :2] + shift


@pytest.fixture(scope="module")
def angles():
    rng = np.random.default_rng(0)
    return np.stack([rng.uniform(-89, 89, 300), rng.uniform(-60, 60, 300), rng.uniform(-170, 170, 300)], axis=1)


def test_the_generic_face_is_the_template_from_the_front():
    eyes = np.linalg.norm(ARCFACE_TEMPLATE[1] - ARCFACE_TEMPLATE[0])
    placed = ARCFACE_TEMPLATE[:2].mean(0) + eyes * GENERIC_FACE[:, :2]
    np.testing.assert_allclose(placed, ARCFACE_TEMPLATE, atol=0.35)
    assert GENERIC_FACE[2, 2] > GENERIC_FACE[3, 2] > GENERIC_FACE[0, 2]


def test_known_angles_are_recovered_with_the_signs_of_the_synthetic_faces(angles):
    for scale, shift in ((35.0, (50.0, 60.0)), (88.0, (400.0, -30.0))):
        pose = pose_from_landmarks(np.stack([project(*angle, scale, shift) for angle in angles]))
        np.testing.assert_allclose(np.stack([pose.yaw, pose.pitch, pose.roll], axis=1), angles, atol=1e-6)
        np.testing.assert_allclose(pose.residual, 0, atol=1e-9)
    for angle in angles[:20]:
        camera = Camera(Conditions(**dict(zip(("yaw", "pitch", "roll"), angle))), 112)
        seen = np.array([camera.project(tuple(point))[:2] for point in GENERIC_FACE])
        turned = seen @ [[camera.cos_roll, camera.sin_roll], [-camera.sin_roll, camera.cos_roll]]
        np.testing.assert_allclose(np.ravel(pose_from_landmarks(turned[None])[:3]), angle, atol=1e-6)
    # With left and right exchanged the face seems to be seen from behind.
    faces = np.stack([project(yaw, 5, 0) for yaw in (-40, 0, 40)])[:, [1, 0, 2, 4, 3]]
    assert (np.abs(pose_from_landmarks(faces).yaw) > 90).all()


def test_it_is_the_affine_camera_and_its_nearest_scaled_rotation(angles):
    face, rng = GENERIC_FACE - GENERIC_FACE.mean(0), np.random.default_rng(4)
    faces = np.stack([project(*angle) for angle in angles[:8]]) + rng.normal(0, 2, (8, 5, 2))
    pose = pose_from_landmarks(faces)
    for points, yaw, pitch, roll, residual in zip(faces, pose.yaw, pose.pitch, pose.roll, pose.residual):
        camera = np.linalg.lstsq(face, points - points.mean(0), rcond=None)[0].T

        # Nothing near is nearer to the camera than the scaled rotation of these angles.
        def misfit(angles, scale, camera=camera):
            turned = project(*angles, scale=scale, shift=(0, 0), face=np.eye(3)).T
            return np.square(camera - turned).sum()

        scale = np.linalg.svd(camera, compute_uv=False).mean()
        best = misfit((yaw, pitch, roll), scale)
        for step in rng.normal(0, 1, (20, 4)):
            assert misfit((yaw + step[0], pitch + step[1], roll + step[2]), scale * (1 + 0.02 * step[3])) >= best
        seen = project(yaw, pitch, roll, scale=scale, shift=(0, 0), face=face)
        distance = np.sqrt(np.square(points - points.mean(0) - seen).sum(1).mean()) / scale
        assert residual == pytest.approx(distance)


def test_degenerate_points_are_nan_and_do_not_touch_others():
    face = project(20, 5, 3)
    line = np.stack([np.arange(5.0), 2 * np.arange(5.0)], axis=1)
    hole, endless = face.copy(), face.copy()
    hole[3, 1], endless[0, 0] = np.nan, np.inf
    pose = pose_from_landmarks(np.stack([face, np.full((5, 2), 7.0), line, hole, endless, face]))
    for values, first in zip(pose, (20, 5, 3, 0)):
        assert list(np.isnan(values)) == [False, True, True, True, True, False]
        np.testing.assert_allclose(values[[0, 5]], first, atol=1e-6)
    landmarks = np.stack([project(0, 0, 77, scale=20), project(60, 0, 10, scale=20), np.full((5, 2), np.nan)])
    np.testing.assert_allclose(eye_distance_px(landmarks), [20, 10, np.nan])
    assert all(values.shape == (0,) for values in pose_from_landmarks(np.zeros((0, 5, 2))))
    with pytest.raises(ValueError, match=r"\[3, 10\]: give \[n, 5, 2\]"):
        pose_from_landmarks(np.zeros((3, 10)))
