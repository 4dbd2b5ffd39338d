"""Occluders that are drawn over aligned faces: which pixels they hide, and their paint.

Mask and sunglasses sit where the five-point ArcFace template has mouth, nose and eyes. Each function gives how much of
every pixel is hidden, `[height, width]` 0..1.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw

from ddl_tf.images.template import ARCFACE_TEMPLATE, TEMPLATE_SIZE

# Shapes are drawn so much larger and scaled down, for soft edges.
_FINE = 4

Points = Sequence[tuple[float, float]]


class _Drawing:
    """A picture of hidden pixels, drawn in the coordinates of the template."""

    def __init__(self, height: int, width: int) -> None:
        self._size = width, height
        self._scale = _FINE * np.array([width, height]) / TEMPLATE_SIZE
        self._image = Image.new("L", (_FINE * width, _FINE * height))
        self._draw = ImageDraw.Draw(self._image)

    def _place(self, points: Points) -> list[tuple[float, float]]:
        return [(float(x), float(y)) for x, y in np.asarray(points) * self._scale]

    def polygon(self, points: Points) -> None:
        self._draw.polygon(self._place(points), fill=255)

    def line(self, points: Points, wide: float) -> None:
        self._draw.line(self._place(points), fill=255, width=max(1, round(wide * self._scale[0])), joint="curve")

    def hidden(self) -> np.ndarray:
        return np.asarray(self._image.resize(self._size, Image.Resampling.BOX), np.float32) / 255


def surgical_mask(height: int, width: int, strength: float) -> tuple[np.ndarray, np.ndarray]:
    """Draw a mask over mouth and chin, with its straps: what it hides, and the light on its pleats (a factor).

    `strength`, 0..1, is how high it is worn: 1 covers the nose up to its bridge, towards 0 the mouth alone.
    """
    nose, mouth = ARCFACE_TEMPLATE[2], ARCFACE_TEMPLATE[3:].mean(0)
    middle = float(mouth[0])
    top = float(mouth[1] - 8 - strength * (mouth[1] - nose[1] + 2))
    away = np.linspace(-1, 1, 25)
    # The upper edge runs up to the nose and down to the cheeks, the lower one around the chin.
    upper = [(middle + 37 * a, top + 5 * a * a + 7 * abs(a)) for a in away]
    lower = [(middle + 35 * a, top + 14 + (117 - top - 14) * (1 - abs(a) ** 2.6)) for a in away[::-1]]
    drawing = _Drawing(height, width)
    drawing.polygon([*upper, *lower])
    for side in (-1, 1):
        ear = middle + 62 * side
        drawing.line([(middle + 36 * side, top + 13), (ear, top - 6)], 1.6)
        drawing.line([(middle + 33 * side, top + 24), (ear, top + 10)], 1.6)
    pleats = _Drawing(height, width)
    for share in (0.3, 0.5, 0.7):
        down = top + 6 + share * (112 - top)
        pleats.line([(middle + 32 * a, down + 5 * a * a) for a in away], 1.4)
    return drawing.hidden(), 1 - np.float32(0.22) * pleats.hidden()


def sunglasses(height: int, width: int, strength: float) -> np.ndarray:
    """Draw sunglasses; `strength`, 0..1, is how dark the glasses are. The frame always hides what is behind it."""
    glasses, frame = _Drawing(height, width), _Drawing(height, width)
    left, right = (float(x) for x in ARCFACE_TEMPLATE[:2, 0])
    level = float(ARCFACE_TEMPLATE[:2, 1].mean()) + 1
    half_x, half_y = 15.2, 11.5
    turn = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    # A superellipse is nearer to its box than an ellipse.
    across, down = (np.sign(part) * np.abs(part) ** (2 / 2.8) for part in (np.cos(turn), np.sin(turn)))
    for eye in (left, right):
        outline = list(zip((eye + half_x * across).tolist(), (level + half_y * down).tolist()))
        glasses.polygon(outline)
        frame.line([*outline, outline[0]], 2)
    frame.line([(left + half_x - 1, level - 4), ((left + right) / 2, level - 6), (right - half_x + 1, level - 4)], 2.5)
    for hinge, edge in ((left - half_x, 0), (right + half_x, TEMPLATE_SIZE)):
        frame.line([(hinge, level - 4), (edge, level - 7)], 2.5)
    return np.maximum(np.float32(strength) * glasses.hidden(), frame.hidden())


def bar(height: int, width: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a band across the picture, at any angle, that hides `share` of the area."""
    turn = rng.uniform(0, np.pi)
    middle_x, middle_y = rng.uniform(0.3, 0.7, 2) * (width, height)
    across = (np.arange(width) + 0.5 - middle_x) * np.cos(turn)
    down = (np.arange(height)[:, None] + 0.5 - middle_y) * np.sin(turn)
    distance = np.abs(across + down)
    return np.clip(np.quantile(distance, share) - distance + 0.5, 0, 1).astype(np.float32)


def patch(height: int, width: int, share: float, rng: np.random.Generator) -> np.ndarray:
    """Draw a rectangle at a random place within the picture, that hides `share` of the area."""
    # Half as wide as high to twice, as far as it fits into the picture.
    wide = float(np.clip(np.sqrt(share * 2 ** rng.uniform(-1, 1)), share, 1))
    high = share / wide if share else 0.0
    left, top = rng.uniform(0, 1 - wide), rng.uniform(0, 1 - high)

    def overlap(start: float, stop: float, pixels: int) -> np.ndarray:
        begins = np.arange(pixels)
        return np.clip(np.minimum(begins + 1, stop * pixels) - np.maximum(begins, start * pixels), 0, 1)

    return (overlap(top, top + high, height)[:, None] * overlap(left, left + wide, width)).astype(np.float32)
