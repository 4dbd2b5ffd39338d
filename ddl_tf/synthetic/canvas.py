"""The picture of a face while it is drawn: soft masks, paint and light."""

import math
from typing import Union

import numpy as np

from ddl_tf.synthetic.conditions import Conditions
from ddl_tf.synthetic.surface import Box, Camera, Point, Profile, Surface
from ddl_tf.synthetic.traits import Colour, Traits

Mask = np.ndarray
EVERYWHERE: Box = (slice(None), slice(None))


def _noise_tile(seed: int, side: int = 128, cell: int = 8) -> np.ndarray:
    """A smooth random tile in -1..1 that repeats without a seam, [side, side]."""
    coarse = np.random.default_rng(seed).uniform(-1, 1, (side // cell, side // cell))
    place = np.arange(side) / cell
    low = place.astype(int)
    part = place - low
    part = part * part * (3 - 2 * part)
    high = (low + 1) % (side // cell)
    rows = coarse[low] * (1 - part)[:, None] + coarse[high] * part[:, None]
    return (rows[:, low] * (1 - part) + rows[:, high] * part).astype(np.float32)


_NOISE = _noise_tile(20200208)


def texture(x: np.ndarray, y: np.ndarray, per_x: float, per_y: float) -> np.ndarray:
    """Smooth noise in -1..1 at head coordinates, with so many tiles a head unit."""
    side = len(_NOISE)
    rows = (y * (per_y * side)).astype(np.intp) & (side - 1)
    columns = (x * (per_x * side)).astype(np.intp) & (side - 1)
    return _NOISE[rows, columns]


def clip01(values: np.ndarray) -> Mask:
    """Values cut at 0 and 1; faster than np.clip for the many small boxes."""
    return np.minimum(np.maximum(values, 0), 1)


def bump(x: np.ndarray, y: np.ndarray, width: float, height: float) -> Mask:
    """A soft spot: 1 in the middle, 0 outside of an ellipse."""
    across, down = x * (1 / width), y * (1 / height)
    inside = np.maximum(0, 1 - across * across - down * down)
    return inside * inside


def tinted(colour: Colour, factor: float) -> Colour:
    """A darker or lighter colour."""
    return colour[0] * factor, colour[1] * factor, colour[2] * factor


def _planes(colour: Colour) -> np.ndarray:
    return np.array(colour, np.float32)[:, None, None]


class Canvas:
    """The picture while it is drawn; arrays are `[size, size]`.

    `pixel` is the side of a pixel in head units, `per_pixel` its inverse. `head` is what the pixels see of the head,
    whose shape is `profile`; `face_x` the head x of pixels that see its front, far away (9) for the others. `face` is
    planar RGB `[3, size, size]` of the skin and what is painted on it, not lit, `shade` the light on the head. `cover`
    is the share of each pixel that the head covers, `skin` that which shows face or ears, `person` the same with the
    hair before the face. `pixels` is planar RGB of the picture, `[3, size, size]`.
    """

    def __init__(self, traits: Traits, conditions: Conditions, size: int) -> None:
        self.traits, self.conditions = traits, conditions
        self.camera = Camera(conditions, size)
        self.pixel = np.float32(self.camera.pixel)
        self.per_pixel = 1 / self.pixel
        self.profile = Profile.head(traits)
        self.head = self.profile.seen_by(self.camera)
        # Features are on the front only: the same x and y on the back of the head must not match.
        self.face_x = np.where(self.head.z > 0, self.head.x, np.float32(9))
        self.light = self._light_in_head()
        self.shade = self.shade_of(self.head)
        self.cover = self.solid(self.head.edge)
        self.face = np.empty((3, size, size), np.float32)
        self.face[:] = _planes(traits.skin)
        self.pixels = np.empty((3, size, size), np.float32)
        self.skin = np.zeros((size, size), np.float32)
        self.person = np.zeros((size, size), np.float32)

    def solid(self, distance: np.ndarray) -> Mask:
        """A soft-edged mask of a signed distance in head units, positive inside."""
        return clip01(distance * self.per_pixel + 0.5)

    def stroke(self, distance: np.ndarray, half_width: float) -> Mask:
        """A soft-edged line about distance 0; one thinner than a pixel is fainter."""
        share = min(1.0, 2 * half_width / float(self.pixel))
        return self.solid(half_width - np.abs(distance)) * share

    def near(self, x: float, y: float, radius: float) -> tuple[Box, np.ndarray, np.ndarray]:
        """The box of pixels about a point of the face, and the face coordinates in it, from that point."""
        box = self.camera.box([self.profile.at(x, y)], radius)
        return box, self.face_x[box] - x, self.head.y[box] - y

    def paint_face(self, box: Box, mask: Mask, colour: Colour) -> None:
        """Lay a colour on the skin, to be lit with it."""
        part = self.face[:, box[0], box[1]]
        part += mask * (_planes(colour) - part)

    def darken_face(self, box: Box, factor: np.ndarray) -> None:
        """Shadows and folds: less light on a box of the skin."""
        self.shade[box] *= factor

    def paint(self, mask: Mask, colour: Colour, shade: Union[np.ndarray, np.float32], box: Box = EVERYWHERE) -> None:
        """Lay a lit colour over the picture."""
        part = self.pixels[:, box[0], box[1]]
        part += mask * (_planes(colour) * shade - part)

    def _light_in_head(self) -> Point:
        azimuth = math.radians(self.conditions.light_azimuth)
        elevation = math.radians(self.conditions.light_elevation)
        x, y = math.sin(azimuth) * math.cos(elevation), -math.sin(elevation)
        z = math.cos(azimuth) * math.cos(elevation)
        camera = self.camera
        y, z = y * camera.cos_pitch + z * camera.sin_pitch, z * camera.cos_pitch - y * camera.sin_pitch
        return x * camera.cos_yaw - z * camera.sin_yaw, y, x * camera.sin_yaw + z * camera.cos_yaw

    def lit(self, normal_x: np.ndarray, normal_y: np.ndarray, normal_z: np.ndarray) -> np.ndarray:
        """Lambert's law, wrapped a little about the edge, with ambient light; normals in head coordinates."""
        x, y, z = (np.float32(v) for v in self.light)
        length = np.sqrt(normal_x * normal_x + normal_y * normal_y + normal_z * normal_z) + 1e-6
        facing = (normal_x * x + normal_y * y + normal_z * z) / length
        wrapped = np.maximum(0, facing + 0.3) / 1.3
        contrast, light = self.conditions.contrast, self.conditions.light
        return light * ((1.12 - contrast) + contrast * wrapped)

    def shade_of(self, surface: Surface) -> np.ndarray:
        """The light on the head or the hair, as on an ellipsoid."""
        width, depth = self.traits.head_width, self.traits.head_depth
        return self.lit(surface.x * (1 / width**2), surface.y * 0.75, surface.z * (1 / depth**2))
