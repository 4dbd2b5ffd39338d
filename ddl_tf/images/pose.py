"""Pose of the head from five landmarks: a generic face in three dimensions, fitted under weak perspective."""

from typing import NamedTuple

import numpy as np

from ddl_tf.images.landmarks import GENERIC_FACE
from ddl_tf.images.template import ARCFACE_TEMPLATE

# The points in their order, as detectors of five points give them; left is the image's left.
LANDMARK_COLUMNS = tuple(
    f"{point}_{axis}" for point in ("left_eye", "right_eye", "nose", "left_mouth", "right_mouth") for axis in "xy"
)

# Points on one line, or in one place, have no pose.
_DEGENERATE = 1e-4


class Pose(NamedTuple):
    """The pose of n heads; NaN where the landmarks have none.

    Attributes:
        yaw: `[n]` degrees; positive turns the nose to the image's right. Beyond 90 degrees left and right of the
            landmarks are exchanged.
        pitch: `[n]` degrees; positive looks up. A nose that sits lower than that of the generic face looks like a
            head that looks down: expect an offset of ten degrees and more from face to face.
        roll: `[n]` degrees; positive turns the head clockwise.
        residual: `[n]` root mean square distance of the landmarks from those of the fitted face, in distances between
            the eyes (of the fitted face, seen from the front): how little they look like a face.
    """

    yaw: np.ndarray
    pitch: np.ndarray
    roll: np.ndarray
    residual: np.ndarray


def pose_from_landmarks(landmarks: np.ndarray) -> Pose:
    """Estimate the pose of heads from five landmarks each.

    A generic face is fitted under weak perspective: by least squares an affine camera `[2, 3]`, and from it the nearest
    scaled rotation. Moving, scaling or rotating the image changes nothing but the roll, so that the landmarks may be
    those of the original or of the aligned image.

    Args:
        landmarks: `[n, 5, 2]` x (to the right) and y (downwards): left eye, right eye, nose, left and right corner of
            the mouth, where left is the image's left.

    Returns:
        The poses. NaN where a landmark is not finite, or all five lie on one line.

    Raises:
        ValueError: if the shape is another.

    Example:
        >>> abs(pose_from_landmarks(ARCFACE_TEMPLATE[None]).yaw.item()) < 3
        True

    References:
        MediaPipe's canonical face model, and the six points of "Head Pose Estimation using OpenCV and Dlib"
        (learnopencv.com), for the depth of nose and mouth: 0.60 and 0.07, 0.43 and 0.03 distances between the eyes.
    """
    landmarks = np.asarray(landmarks, np.float64)
    if landmarks.ndim != 3 or landmarks.shape[1:] != (5, 2):
        raise ValueError(f"landmarks have the shape {list(landmarks.shape)}: give [n, 5, 2]")
    whole = np.isfinite(landmarks).all((1, 2))
    points = np.where(whole[:, None, None], landmarks, ARCFACE_TEMPLATE)
    points = points - points.mean(1, keepdims=True)
    face = GENERIC_FACE - GENERIC_FACE.mean(0)
    camera = np.einsum("npi,dp->nid", points, np.linalg.pinv(face))
    left, scales, right = np.linalg.svd(camera, full_matrices=False)
    whole &= scales[:, 1] > _DEGENERATE * np.maximum(scales[:, 0], np.finfo(float).tiny)
    rotation = left @ right
    scale = np.where(whole, scales.mean(1), 1)
    toward = np.cross(rotation[:, 0], rotation[:, 1])
    yaw = np.arctan2(-toward[:, 0], toward[:, 2])
    pitch = np.arcsin(np.clip(toward[:, 1], -1, 1))
    roll = np.arctan2(-rotation[:, 0, 1], rotation[:, 1, 1])
    misfit = points / scale[:, None, None] - np.einsum("nid,pd->npi", rotation, face)
    residual = np.sqrt(np.square(misfit).sum(2).mean(1))
    measured = (*np.degrees([yaw, pitch, roll]), residual)
    return Pose(*(np.where(whole, values, np.nan) for values in measured))


def eye_distance_px(landmarks: np.ndarray) -> np.ndarray:
    """Measure the distance between the eyes of `[n, 5, 2]` landmarks in pixels; NaN where an eye is not finite.

    A head that turns away has less of it. Landmarks of the original image say how many pixels the face has.
    """
    apart = np.asarray(landmarks, np.float64)[:, 1] - np.asarray(landmarks, np.float64)[:, 0]
    return np.hypot(apart[:, 0], apart[:, 1])
