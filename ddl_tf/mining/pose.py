"""Pose of the head from five landmarks: a generic face in three dimensions, fitted under weak perspective."""

from typing import NamedTuple

import numpy as np

# The points in their order, as detectors of five points give them; left is the image's left.
LANDMARK_COLUMNS = (
    "left_eye_x",
    "left_eye_y",
    "right_eye_x",
    "right_eye_y",
    "nose_x",
    "nose_y",
    "left_mouth_x",
    "left_mouth_y",
    "right_mouth_x",
    "right_mouth_y",
)

# Where InsightFace's alignment puts the five points in an image of 112 x 112 pixels.
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)

# Points on one line, or in one place, have no pose.
_DEGENERATE = 1e-4


def _generic_face() -> np.ndarray:
    """The five points, [5, 3] (right, down, to the viewer) in distances between the eyes, from between the eyes."""
    mirrored = ARCFACE_TEMPLATE[[1, 0, 2, 4, 3]]
    half = (ARCFACE_TEMPLATE[:, 0] - mirrored[:, 0]) / 2
    down = (ARCFACE_TEMPLATE[:, 1] + mirrored[:, 1]) / 2
    # The template has no depth; these values lie between those of the models in the references.
    depth = np.array([0, 0, 0.55, 0.07, 0.07])
    eyes = half[1] - half[0]
    return np.stack([half / eyes, (down - down[0]) / eyes, depth], axis=1)


GENERIC_FACE = _generic_face()


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
    yaw, pitch, roll, residual = (
        np.where(whole, values, np.nan) for values in (np.degrees(yaw), np.degrees(pitch), np.degrees(roll), residual)
    )
    return Pose(yaw, pitch, roll, residual)


def eye_distance_px(landmarks: np.ndarray) -> np.ndarray:
    """Measure the distance between the eyes of `[n, 5, 2]` landmarks in pixels; NaN where an eye is not finite.

    A head that turns away has less of it. Landmarks of the original image say how many pixels the face has.
    """
    apart = np.asarray(landmarks, np.float64)[:, 1] - np.asarray(landmarks, np.float64)[:, 0]
    return np.hypot(apart[:, 0], apart[:, 1])
