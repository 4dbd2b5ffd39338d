"""Where each pixel of a drawn face looks: rays on a head whose cross-sections are ellipses.

At every height y the head is an ellipse with half-width a(y), depth b(y) and centre c(y), so that an orthographic
ray meets it in closed form, at any yaw. Features are then painted in the head's own coordinates and turn, shorten
and hide as on a solid head. Only correctly rounded array operations are used (no exp, sin or pow on pixels), so
that an image does not depend on the vector units of the machine.
"""

import math
from dataclasses import dataclass

import numpy as np

from ddl_tf.synthetic.conditions import Conditions
from ddl_tf.synthetic.traits import Traits

# Half of the image's side, and the height at its centre, in head units.
VIEW, CENTRE_Y = 1.2, 0.04
_LOW, _HIGH, _STEPS = -1.8, 2.2, 1000
_HEIGHTS = np.linspace(_LOW, _HIGH, _STEPS)

Box = tuple[slice, slice]
Point = tuple[float, float, float]


class Camera:
    """The orthographic view of the head; `x` and `y` `[size, size]` are the pixels' camera coordinates, roll undone."""

    def __init__(self, conditions: Conditions, size: int) -> None:
        self.size = size
        self.pixel = 2 * VIEW / conditions.scale / size
        yaw, pitch, roll = (math.radians(v) for v in (conditions.yaw, conditions.pitch, conditions.roll))
        self.sin_yaw, self.cos_yaw = math.sin(yaw), math.cos(yaw)
        self.sin_pitch, self.cos_pitch = math.sin(pitch), math.cos(pitch)
        self.sin_roll, self.cos_roll = math.sin(roll), math.cos(roll)
        self._shift = conditions.shift_x, conditions.shift_y - CENTRE_Y
        steps = (np.arange(size) + 0.5 - size / 2) * self.pixel
        across = (steps - self._shift[0]).astype(np.float32)[None, :]
        down = (steps - self._shift[1]).astype(np.float32)[:, None]
        self.x = across * self.cos_roll + down * self.sin_roll
        self.y = down * self.cos_roll - across * self.sin_roll

    def project(self, point: Point) -> Point:
        """Head coordinates -> camera x, y and depth (larger is nearer)."""
        x, y, z = point
        depth, sin, cos = z * self.cos_yaw - x * self.sin_yaw, self.sin_pitch, self.cos_pitch
        return x * self.cos_yaw + z * self.sin_yaw, y * cos - depth * sin, depth * cos + y * sin

    def to_pixels(self, points: np.ndarray) -> np.ndarray:
        """Camera coordinates `[n, 2]` -> x, y in pixels of the image; (0, 0) is the centre of the first pixel."""
        turn = np.array([[self.cos_roll, self.sin_roll], [-self.sin_roll, self.cos_roll]])
        return (points @ turn + self._shift) / self.pixel + (self.size - 1) / 2

    def box(self, points: list[Point], radius: float) -> Box:
        """The pixels within `radius` (head units) of the box around some points in head coordinates."""
        places = [self.project(point) for point in points]
        columns = [(x * self.cos_roll - y * self.sin_roll + self._shift[0]) / self.pixel for x, y, _ in places]
        rows = [(x * self.sin_roll + y * self.cos_roll + self._shift[1]) / self.pixel for x, y, _ in places]
        reach, half = radius / self.pixel + 2, self.size / 2

        def cut(values: list[float]) -> slice:
            low, high = int(min(values) + half - reach), int(max(values) + half + reach) + 1
            return slice(min(max(low, 0), self.size), min(max(high, 0), self.size))

        return cut(rows), cut(columns)


@dataclass(frozen=True)
class Surface:
    """What the pixels see of a surface, `[size, size]`: head x, y, z (beside it, of its nearest edge; z from the axis).

    `edge` is the signed distance to the silhouette in head units, positive inside.
    """

    x: np.ndarray
    y: np.ndarray
    z: np.ndarray
    edge: np.ndarray


def _rounded(distance: np.ndarray, power: float) -> np.ndarray:
    """Squared half-width of a superellipse at a distance -1..1 from its middle, negative outside."""
    inside = 1 - np.abs(distance) ** power
    return np.where(inside > 0, np.abs(inside) ** (2 / power), inside)


class Profile:
    """The cross-sections of a head or its hair, by height: squared half-width, z of the front, and z of the back."""

    def __init__(self, width2: np.ndarray, front: np.ndarray, back: np.ndarray) -> None:
        self.width2, self.front, self.back = width2, front, back
        self.depth = np.maximum((front - back) / 2, 1e-3)
        self.centre = (front + back) / 2

    @staticmethod
    def head(traits: Traits) -> "Profile":
        """The bare head."""
        y, upper = _HEIGHTS, _HEIGHTS < 0
        jaw = _rounded(y, traits.jaw_power) * (1 - traits.jaw_taper * y * y) ** 2
        cheek = 1 + traits.cheek * np.maximum(0, 1 - ((y - 0.3) / 0.45) ** 2) * 2
        width2 = traits.head_width**2 * np.where(upper, _rounded(y, traits.crown_power), jaw * cheek)
        crown = np.sqrt(np.maximum(_rounded(y, traits.crown_power), 0))
        face = np.sqrt(np.maximum(_rounded(y, 3.4), 0))
        chin = traits.chin * np.maximum(0, 1 - ((y - 0.85) / 0.3) ** 2)
        front = traits.head_depth * np.where(upper, crown, face) + np.where(upper, 0, chin)
        back = -(traits.head_depth + 0.06) * np.where(upper, crown, np.sqrt(np.maximum(_rounded(y, 1.6), 0)))
        return Profile(width2, front, back)

    @staticmethod
    def hair(traits: Traits) -> "Profile":
        """The outside of the hair, which may hang below the head."""
        y, hair = _HEIGHTS, traits.hair
        width = traits.head_width + hair.side
        crown = _rounded(y / (1 + hair.top), min(traits.crown_power, 2.4))
        # Below the ears the hair hangs down; curly and round styles come in again.
        hanging = 1 - 0.1 * np.clip(y / 1.5, 0, 1) ** 2
        if hair.length < 1.2:
            hanging = _rounded(np.clip(y, 0, None) / (hair.length + 0.75), 2.6)
        scale2 = np.where(y < 0, crown, hanging)
        scale = np.sqrt(np.maximum(scale2, 0))
        depth = traits.head_depth + 0.5 * hair.side
        return Profile(width**2 * scale2, (depth + 0.02) * scale, -(depth + 0.1 + 0.5 * hair.side) * scale)

    def at(self, x: float, y: float) -> Point:
        """The point on the front of the surface at x and y."""
        width2, depth, centre = (float(np.interp(y, _HEIGHTS, t)) for t in (self.width2, self.depth, self.centre))
        return x, y, centre + depth * math.sqrt(max(0.0, 1 - x * x / max(width2, 1e-6)))

    def seen_by(self, camera: Camera) -> Surface:
        """Meet the rays of all pixels with the surface."""
        sin, cos = camera.sin_yaw, camera.cos_yaw
        width2, depth2 = np.maximum(self.width2, 1e-6), self.depth**2
        shown2 = width2 * cos * cos + depth2 * sin * sin
        # Outside of the surface the width is negative and goes on smoothly, for the soft edge.
        edge2 = np.where(self.width2 > 0, shown2, self.width2)
        tilt, bulge = -sin * cos * (width2 - depth2) / shown2, np.sqrt(width2 * depth2) / shown2
        tables = [
            edge2,
            np.gradient(edge2, _HEIGHTS),
            np.sqrt(shown2),
            self.centre * sin,
            tilt,
            bulge,
            self.centre * cos,
        ]
        edge2, slope, half, middle, tilt, bulge, ahead = (table.astype(np.float32) for table in tables)
        y = camera.y / camera.cos_pitch
        per_step = np.float32((_STEPS - 1) / (_HIGH - _LOW))
        # The height seen depends on the depth, and the depth on the height: a second look settles it for a small pitch.
        # The silhouette is that of the first: an ellipsoid's hardly changes when it nods.
        for look in range(2):
            index = np.minimum(np.maximum(((y - _LOW) * per_step + 0.5).astype(np.int32), 0), _STEPS - 1)
            across = camera.x - middle[index]
            if look == 0:
                grade = slope[index]
                edge = (edge2[index] - across * across) / (np.sqrt(4 * across * across + grade * grade) + 1e-3)
            limit = half[index]
            inside = np.minimum(np.maximum(across, -limit), limit)
            near = tilt[index] * inside + bulge[index] * np.sqrt(limit * limit - inside * inside)
            y = (camera.y + (near + ahead[index]) * camera.sin_pitch) / camera.cos_pitch
        return Surface(inside * cos - near * sin, y, inside * sin + near * cos, edge)
