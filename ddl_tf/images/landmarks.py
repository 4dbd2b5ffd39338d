"""Landmarks of others: whether they are in the order, scale and axes that are expected."""

from collections.abc import Iterable
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.images.template import ARCFACE_TEMPLATE, TEMPLATE_SIZE, similarity_transform

# Points of one face are farther apart than this, in pixels; of coordinates in 0..1 no two are.
MIN_SPAN_PX = 4.0
# A point may be this share of the face's span outside of the image: detectors complete faces at the border.
_OUTSIDE = 0.25
# Mirrored points fit the template much better; of profiles, up to 90 degrees, both fit alike.
_MIRRORED = 0.6
# How far points are from every view of a face, measured in eye distances, and how much is added for a view that is
# skewed. Of 2,000 simulated faces at each of 0, 45, 75 and 90 degrees 0.2% at most are refused; see
# docs/serving_gallery.md.
_MISFIT, _SKEW, _LEAST_SKEW = 0.18, 0.4, 0.6
# Of a long list as many lines are checked; beyond this share of bad ones it is the list that is wrong, not a face.
_CHECKED_LINES, _BAD_SHARE = 1000, 1 / 3


# The template is of no face quite: both halves alike.
_flat = ARCFACE_TEMPLATE - ARCFACE_TEMPLATE[:2].mean(0)
_flat = (_flat + _flat[[1, 0, 2, 4, 3]] * [-1, 1]) / 2
# The points in space, `[5, 3]` (right, down, to the viewer), in distances between the eyes, from between them. How far
# nose and mouth lie before the eyes is between the models that `ddl_tf.images.pose` refers to.
GENERIC_FACE = np.column_stack([_flat / np.ptp(_flat[:2, 0]), (0.0, 0.0, 0.55, 0.07, 0.07)])
_FACE = np.column_stack([GENERIC_FACE, np.ones(5)])


def _template_misfit(points: np.ndarray) -> float:
    matrix = similarity_transform(points, ARCFACE_TEMPLATE)
    fitted = points @ matrix[:, :2].T + matrix[:, 2]
    return float(np.sqrt(np.sum((fitted - ARCFACE_TEMPLATE) ** 2) / len(points))) / TEMPLATE_SIZE


def _view_misfit(points: np.ndarray) -> float:
    """How badly points fit the generic face, seen from anywhere."""
    camera = np.linalg.lstsq(_FACE, points, rcond=None)[0]
    # A camera far away sees both axes of its image at one scale.
    longer, shorter = np.linalg.svd(camera[:3], compute_uv=False)
    distance = np.sqrt(np.sum((points - _FACE @ camera) ** 2) / len(points))
    return float(distance / longer + _SKEW * max(0.0, _LEAST_SKEW - shorter / longer))


def landmark_problem(landmarks: np.ndarray, size: tuple[int, int]) -> Optional[str]:
    """What is wrong with landmarks, `[5, 2]` x, y in pixels of an image of (width, height); None if nothing is.

    Faces of any roll, and of a yaw up to 90 degrees, are taken. A face upside down looks the same as one with eyes and
    mouth exchanged, and is taken. Landmarks that are not finite, or all one point, raise an `InputError`.
    """
    points = np.asarray(landmarks, np.float64)
    misfit = _template_misfit(points)
    span = float(np.linalg.norm(points[:, None] - points[None], axis=2).max())
    if span < MIN_SPAN_PX:
        return f"a face of {span:.1f} pixels: landmarks are in pixels, not in shares of the image"
    beyond = np.maximum(-points, points - (np.asarray(size) - 1)).max(axis=1)
    if beyond.max() > _OUTSIDE * span:
        x, y = points[beyond.argmax()]
        return (
            f"outside of the image: the point ({x:.0f}, {y:.0f}), where the image has {size[0]} x {size[1]} pixels; "
            "landmarks are those of the image at this size"
        )
    if _template_misfit(points * [-1, 1]) < _MIRRORED * misfit:
        return (
            "mirrored, the face fits better: give x before y, y downwards, and the eye and the corner of the mouth on "
            "the left of the image first"
        )
    if _view_misfit(points) > _MISFIT:
        return (
            "a poor fit: no face is seen like that; give both eyes, the nose, both corners of the mouth, in this "
            "order, x before y"
        )
    return None


def list_problem(items: Iterable[tuple[np.ndarray, tuple[int, int]]]) -> Optional[str]:
    """What is wrong with the landmarks of many faces, given with the (width, height) of their images.

    None if no more than a third is bad: a detector takes single faces wrong.
    """
    faces, bad = list(items), list[str]()
    for face in faces:
        try:
            problem = landmark_problem(*face)
        except InputError as error:
            problem = str(error)
        bad += [problem] if problem else []
    if len(bad) <= _BAD_SHARE * len(faces):
        return None
    return (
        f"the landmarks of {len(bad):,} of {len(faces):,} faces that were checked are bad: look whether the list is of "
        f"these images; the first: {bad[0]}"
    )


def checked_lines(count: int) -> np.ndarray:
    """Choose the lines of a list that `list_problem` checks: evenly spread, 1000 at most."""
    return np.unique(np.linspace(0, count - 1, min(count, _CHECKED_LINES)).astype(np.int64))
