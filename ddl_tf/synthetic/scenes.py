"""Drawn photos of drawn people, with the true place of each face: what a detector finds can be checked on them."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.images.pose import LANDMARK_COLUMNS, eye_distance_px
from ddl_tf.synthetic.conditions import Conditions, draw_conditions
from ddl_tf.synthetic.drawing import draw_face
from ddl_tf.synthetic.grounds import draw_ground
from ddl_tf.synthetic.landmarks import face_box, face_landmarks
from ddl_tf.synthetic.traits import Traits, draw_traits

BOX_COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")
# A person is drawn in a square of so many sides of the face's box, the head above the middle, to show the shoulders.
_ZOOM, _RAISED, _SQUARE = 0.55, -0.5, 3.1
# Places that are tried for a person before it is drawn smaller, and how much of another face it may hide.
_PLACES, _SMALLER, _HIDDEN = 60, 0.85, 0.01
# The sides of the face's box: the largest in shares of the photo's shorter side, the smallest in pixels.
_LARGEST, _LEAST_SIDE = 0.6, 8.0


class Scene(NamedTuple):
    """A drawn photo: uint8 `[height, width, 3]` RGB, and a table with a row for each face; see `render_scene`."""

    image: np.ndarray
    faces: pd.DataFrame


@dataclasses.dataclass(frozen=True)
class Figure:
    """A person of a photo: the identity, how it is seen, and about how many pixels the box of the face has a side."""

    identity: int
    seen: Conditions
    side: float


class _Cutout(NamedTuple):
    """A drawn person: `[side, side, 3]` colours times the share of the pixel that the person covers, and the rest."""

    pixels: np.ndarray
    ground: np.ndarray
    landmarks: np.ndarray
    box: np.ndarray


def render_scene(
    people: Sequence[int],
    scene: int,
    seed: int = 0,
    size: tuple[int, int] = (1280, 960),
    sides: tuple[float, float] = (40, 320),
    yaws: Optional[tuple[float, float]] = None,
    hard: bool = False,
) -> Scene:
    """Draw a photo of people in a room, in a street, in a garden or in the evening; the same for the same numbers.

    Args:
        people: the number of the identity of each person.
        scene: number of the photo, 0, 1, ...: the image of each identity that is drawn has this number too.
        seed: seed of the population, as in `render`.
        size: width and height in pixels.
        sides: about the smallest and the largest shorter side of a face's box in pixels, between which all sizes (their
            logarithms) are equally frequent; heads differ by a tenth. Where there is no room, a person is smaller.
        yaws: the least and the largest yaw in degrees, between which all are equally frequent; None: as `render`.
        hard: whether the people are seen as in a hard image of `render`.

    Returns:
        The photo, and a row for each face in the order of `people`: `identity`, `box_left`, `box_top`, `box_right`,
        `box_bottom`, `left_eye_x`, ... (both in pixels; (0, 0) is the centre of the first pixel), `yaw`, `pitch` and
        `roll` in degrees, and `eye_distance_px`.

    Raises:
        InputError: if there is no room for so many.

    Example:
        >>> photo = render_scene(people=[3, 4], scene=0, size=(320, 240), sides=(30, 60))
        >>> photo.image.shape, len(photo.faces)
        ((240, 320, 3), 2)
    """
    rng = np.random.default_rng([seed, scene, *people])
    figures = []
    for identity in people:
        seen = draw_conditions(identity, scene, seed, hard=hard)
        seen = seen if yaws is None else dataclasses.replace(seen, yaw=float(rng.uniform(*yaws)))
        figures.append(Figure(identity, seen, float(np.exp(rng.uniform(*np.log(sides))))))
    return draw_scene(figures, scene, seed, size)


def draw_scene(figures: Sequence[Figure], scene: int, seed: int = 0, size: tuple[int, int] = (1280, 960)) -> Scene:
    """Draw a photo of given figures; see `render_scene`."""
    rng = np.random.default_rng([seed, scene, len(figures), *size])
    pixels, rows = draw_ground(rng, size), dict[int, dict[str, float]]()
    # Those who are far away first: the nearer ones stand before them.
    for number in sorted(range(len(figures)), key=lambda number: figures[number].side):
        figure = figures[number]
        traits, side = draw_traits(figure.identity, seed), min(figure.side, _LARGEST * min(size))
        while True:
            cutout = _cut_out(traits, figure.seen, side)
            place = _place(rng, cutout, list(rows.values()), size)
            if place is not None:
                break
            side *= _SMALLER
            if side < _LEAST_SIDE:
                raise InputError(f"{len(figures)} people: no room in {size[0]} x {size[1]} pixels; take fewer")
        _paste(pixels, cutout, place)
        rows[number] = _row(figure, cutout, place)
    # The grain of the sensor.
    pixels += rng.uniform(0.5, 4) * rng.standard_normal(pixels.shape, np.float32)
    faces = pd.DataFrame([rows[number] for number in range(len(figures))])
    return Scene((pixels + 0.5).clip(0, 255).astype(np.uint8), faces)


def _cut_out(traits: Traits, seen: Conditions, side: float) -> _Cutout:
    """Draw a person whose face's box has a shorter side of about `side` pixels, without a ground."""
    size = round(_SQUARE * side)
    seen = dataclasses.replace(
        seen,
        scale=seen.scale * _ZOOM,
        shift_y=_RAISED,
        # As many pixels for the head as there are in an image of 112.
        resolution=size if seen.resolution >= 112 else min(size, round(seen.resolution / _ZOOM)),
        blur=seen.blur * _ZOOM,
        noise=0.0,
    )
    # Before black a pixel has the person's part alone, and before grey so much more as it shows of the ground.
    black, grey = (
        draw_face(traits, dataclasses.replace(seen, background=((level,) * 3, (level,) * 3)), size)[0].astype(
            np.float32
        )
        for level in (0.0, 128.0)
    )
    ground = (grey - black).sum(2) / (128 * sum(seen.light_colour))
    return _Cutout(black, ground.clip(0, 1), face_landmarks(traits, seen, size), face_box(traits, seen, size))


def _place(
    rng: np.random.Generator, cutout: _Cutout, before: list[dict[str, float]], size: tuple[int, int]
) -> Optional[np.ndarray]:
    """Where the person's square may begin, x and y: the whole face is seen, and no other's is hidden; None: nowhere."""
    # Half an eye distance and more is left beside the face.
    reach = 0.25 * (cutout.box[2:] - cutout.box[:2])
    low, high = reach - cutout.box[:2], np.array(size) - 1 - reach - cutout.box[2:]
    boxes = [np.array([row[name] for name in BOX_COLUMNS]).round().astype(int) for row in before]
    for _ in range(_PLACES if (low < high).all() else 0):
        # Few heads are at the bottom of a photo.
        place = np.round(low + (high - low) * rng.uniform((0, 0), (1, 0.8))).astype(int)
        if all(_hidden(cutout, box - np.tile(place, 2)) <= _HIDDEN for box in boxes):
            return place
    return None


def _hidden(cutout: _Cutout, box: np.ndarray) -> float:
    """The share of a box, in pixels of the cutout, that the person hides; what is below the square counts as hidden."""
    side = len(cutout.ground)
    rows = np.arange(box[1], box[3] + 1).clip(-1, side - 1)
    columns = np.arange(box[0], box[2] + 1)
    columns = columns[(columns >= 0) & (columns < side)]
    rows = rows[rows >= 0]
    return float((1 - cutout.ground[np.ix_(rows, columns)]).sum() / ((box[2] - box[0] + 1) * (box[3] - box[1] + 1)))


def _paste(pixels: np.ndarray, cutout: _Cutout, place: np.ndarray) -> None:
    """Lay a person over the photo; below the square the body goes on as its last row."""
    (height, width), side = pixels.shape[:2], len(cutout.ground)
    left, top = place.tolist()
    columns = slice(max(left, 0), min(left + side, width))
    rows = (np.arange(max(top, 0), height) - top).clip(0, side - 1)
    part = slice(columns.start - left, columns.stop - left)
    shown = pixels[max(top, 0) :, columns]
    shown *= cutout.ground[rows, part, None]
    shown += cutout.pixels[rows, part]


def _row(figure: Figure, cutout: _Cutout, place: np.ndarray) -> dict[str, float]:
    landmarks = cutout.landmarks + place
    return {
        "identity": figure.identity,
        **dict(zip(BOX_COLUMNS, (cutout.box + np.tile(place, 2)).tolist())),
        **dict(zip(LANDMARK_COLUMNS, landmarks.ravel().tolist())),
        "yaw": figure.seen.yaw,
        "pitch": figure.seen.pitch,
        "roll": figure.seen.roll,
        "eye_distance_px": float(eye_distance_px(landmarks[None])[0]),
    }
