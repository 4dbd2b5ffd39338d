"""Where a drawn face has its landmarks and its box: the truth that a detector is compared with."""

import itertools

import numpy as np

from ddl_tf.synthetic.conditions import Conditions
from ddl_tf.synthetic.surface import Camera, Point, Profile
from ddl_tf.synthetic.traits import Traits

# The face reaches from the forehead to the chin, and nearly to the ears: in head units, and in widths of the head.
_TOP, _BOTTOM, _SIDES = -0.6, 1.0, 0.95


def _in_pixels(points: list[Point], camera: Camera) -> np.ndarray:
    """Points of the head, `[n, 2]` x, y in pixels of the image; (0, 0) is the centre of the first pixel."""
    seen = np.array([camera.project(point)[:2] for point in points])
    return camera.to_pixels(seen)


def face_landmarks(traits: Traits, conditions: Conditions, size: int) -> np.ndarray:
    """Where a face drawn at `size` pixels has its eyes, nose and corners of the mouth: `[5, 2]` x, y in pixels."""
    head = Profile.head(traits)
    nose = head.at(0.0, traits.eye_y + traits.nose_length)
    # As the features are drawn: a smile widens the mouth, and lifts its corners.
    mouth = traits.mouth_width * (1 + 0.14 * conditions.smile)
    corner = traits.mouth_y - 0.6 * (0.055 * conditions.smile + traits.mouth_curve)
    points = [
        head.at(-traits.eye_spacing, traits.eye_y),
        head.at(traits.eye_spacing, traits.eye_y),
        (0.0, nose[1] - traits.nose_upturn, nose[2] + traits.nose_projection),
        head.at(-mouth, corner),
        head.at(mouth, corner),
    ]
    return _in_pixels(points, Camera(conditions, size))


def face_box(traits: Traits, conditions: Conditions, size: int) -> np.ndarray:
    """The box of a face drawn at `size` pixels, from forehead to chin: `[4]` left, top, right, bottom in pixels."""
    head, half = Profile.head(traits), _SIDES * traits.head_width
    surface = [head.at(x, y) for x, y in itertools.product(np.linspace(-half, half, 9), np.linspace(_TOP, _BOTTOM, 9))]
    # Where the head is narrower than the box, its surface ends at the side.
    points = _in_pixels(surface, Camera(conditions, size))
    return np.concatenate([points.min(0), points.max(0)])
