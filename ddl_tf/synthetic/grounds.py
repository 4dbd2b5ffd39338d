"""What is behind the people of a drawn photo: rooms, streets, gardens, lights, none of which is a face."""

from collections.abc import Callable

import numpy as np
from PIL import Image, ImageDraw, ImageFilter

from ddl_tf.synthetic.canvas import tinted
from ddl_tf.synthetic.traits import Colour, clipped_colour

# Grounds are out of focus: half of the pixels are enough.
_SHRUNK = 2


def draw_ground(rng: np.random.Generator, size: tuple[int, int]) -> np.ndarray:
    """Draw a ground of (width, height) pixels: float32 `[height, width, 3]` RGB, 0 to 255, a little out of focus."""
    small = size[0] // _SHRUNK, size[1] // _SHRUNK
    kind = _KINDS[int(rng.integers(len(_KINDS)))]
    picture = kind(rng, small)
    blurred = picture.filter(ImageFilter.GaussianBlur(float(rng.uniform(0.001, 0.004)) * max(small)))
    ground = np.asarray(blurred.resize(size, Image.Resampling.BICUBIC), np.float32)
    # A lens is darker towards the corners, and the light of a scene has a colour.
    down, across = np.meshgrid(*(np.linspace(-1, 1, side, dtype=np.float32) for side in size[::-1]), indexing="ij")
    darker = 1 - np.float32(rng.uniform(0, 0.2)) * (across * across + down * down)
    return ground * darker[..., None] * rng.normal(1, 0.03, 3).astype(np.float32)


def cloud(rng: np.random.Generator, size: tuple[int, int], cell: float, octaves: int = 4) -> np.ndarray:
    """Smooth noise of several sizes, about 0 with a deviation of 1: `[height, width]`."""
    total = np.zeros(size[::-1], np.float32)
    for octave in range(octaves):
        coarse = [max(2, round(side * 2**octave / cell)) for side in size]
        values = Image.fromarray(rng.standard_normal(coarse[::-1]).astype(np.float32))
        total += np.asarray(values.resize(size, Image.Resampling.BICUBIC)) / 2**octave
    return total / (total.std() + 1e-6)


def _colour(rng: np.random.Generator, low: float = 30, high: float = 230) -> Colour:
    """Any colour, rather a greyish one."""
    return clipped_colour(0.5 * rng.uniform(low, high, 3) + 0.5 * rng.uniform(low, high))


def _plane(rng: np.random.Generator, size: tuple[int, int], low: Colour, high: Colour, rough: float) -> Image.Image:
    """A surface that goes from one colour to another in some direction, with a texture of `rough` grey levels."""
    down, across = np.meshgrid(*(np.linspace(-0.5, 0.5, side) for side in size[::-1]), indexing="ij")
    turn = rng.uniform(0, 2 * np.pi)
    share = np.clip(0.5 + across * np.cos(turn) + down * np.sin(turn), 0, 1)[..., None]
    pixels = (1 - share) * np.array(low) + share * np.array(high)
    pixels = pixels + rough * cloud(rng, size, rng.uniform(0.03, 0.3) * max(size))[..., None]
    return Image.fromarray(pixels.clip(0, 255).astype(np.uint8))


def _whole(colour: Colour) -> tuple[int, int, int]:
    red, green, blue = (min(255, max(0, round(value))) for value in colour)
    return red, green, blue


def _room(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """A wall and a floor, doors, windows, pictures and shelves, a lamp, and what lies about."""
    width, height = size
    wall = _colour(rng, 90, 235)
    picture = _plane(rng, size, wall, tinted(wall, 0.75), rng.uniform(1, 6))
    floor = int(height * rng.uniform(0.65, 0.9))
    ground = _colour(rng, 40, 170)
    picture.paste(_plane(rng, (width, height - floor), ground, _colour(rng, 40, 170), rng.uniform(4, 14)), (0, floor))
    draw = ImageDraw.Draw(picture)
    for _ in range(int(rng.integers(2, 7))):
        wide, tall = width * rng.uniform(0.06, 0.25), height * rng.uniform(0.12, 0.6)
        left, top = rng.uniform(-0.5 * wide, width - 0.5 * wide), rng.uniform(-0.2, 0.7) * (floor - tall)
        kind = rng.integers(3)
        frame, inside = _whole(_colour(rng)), _whole(_colour(rng, 60, 255))
        draw.rectangle((left, top, left + wide, top + tall), inside, frame, max(1, width // 150))
        if kind == 0:
            draw.line((left + wide / 2, top, left + wide / 2, top + tall), frame, max(1, width // 200))
            draw.line((left, top + tall / 2, left + wide, top + tall / 2), frame, max(1, width // 200))
        elif kind == 1:
            # The backs of books.
            place = left
            while (next_place := place + wide * rng.uniform(0.04, 0.14)) < left + wide:
                draw.rectangle((place, top + tall * rng.uniform(0, 0.3), next_place, top + tall), _whole(_colour(rng)))
                place = next_place
    _clutter(rng, draw, (0, floor - height // 12, width, height), int(rng.integers(2, 10)))
    return _glow(rng, picture, int(rng.integers(0, 3)), 0.08)


def _street(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Houses with rows of windows under a sky, and a road."""
    width, height = size
    sky = (rng.uniform(120, 200), rng.uniform(160, 215), rng.uniform(200, 250))
    picture = _plane(rng, size, sky, (225.0, 230.0, 235.0), rng.uniform(2, 10))
    draw, road, left = ImageDraw.Draw(picture), int(height * rng.uniform(0.6, 0.85)), 0.0
    while left < width:
        wide, top = width * rng.uniform(0.1, 0.3), height * rng.uniform(-0.1, 0.4)
        draw.rectangle((left, top, left + wide, road), _whole(_colour(rng, 60, 210)))
        across, down = int(rng.integers(2, 6)), int(rng.integers(3, 9))
        pane, glass = np.array([wide / across, (road - top) / down]), _whole(_colour(rng, 20, 250))
        for column in range(across):
            for row in range(down):
                x, y = np.array([left, top]) + pane * (column + 0.25, row + 0.25)
                draw.rectangle((x, y, x + pane[0] / 2, y + pane[1] / 2), glass)
        left += wide * rng.uniform(1, 1.2)
    asphalt = rng.uniform(60, 130)
    picture.paste(_plane(rng, (width, height - road), (asphalt,) * 3, (asphalt * 0.8,) * 3, 6), (0, road))
    _clutter(rng, draw, (0, road - height // 10, width, height), int(rng.integers(2, 8)))
    return picture


def _garden(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """Leaves, light between them, trunks, and grass."""
    width, height = size
    leaves = cloud(rng, size, 0.08 * width, 6)[..., None] + 0.7 * cloud(rng, size, 0.4 * width)[..., None]
    green = np.array([rng.uniform(40, 110), rng.uniform(80, 140), rng.uniform(20, 70)])
    pixels = green * (1 + 0.35 * leaves)
    # Where the leaves are thin, the sky is seen.
    pixels = np.where(leaves > rng.uniform(1.2, 2.5), np.array([205, 220, 235]), pixels)
    picture = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
    draw, ground = ImageDraw.Draw(picture), int(height * rng.uniform(0.6, 0.95))
    for _ in range(int(rng.integers(0, 5))):
        x, half = rng.uniform(0, width), width * rng.uniform(0.005, 0.03)
        bark = _whole(tinted((95.0, 75.0, 55.0), rng.uniform(0.5, 1.4)))
        draw.polygon([(x - half, 0), (x + half, 0), (x + 1.6 * half, ground), (x - 1.6 * half, ground)], bark)
    grass = clipped_colour(green * rng.uniform(0.8, 1.3))
    picture.paste(_plane(rng, (width, height - ground), grass, tinted(grass, 0.6), 14), (0, ground))
    return picture


def _lights(rng: np.random.Generator, size: tuple[int, int]) -> Image.Image:
    """The evening: lamps far away, round and soft."""
    picture = _plane(rng, size, _colour(rng, 10, 70), _colour(rng, 20, 110), rng.uniform(3, 10))
    return _glow(rng, picture, int(rng.integers(10, 40)), 0.03)


def _clutter(rng: np.random.Generator, draw: ImageDraw.ImageDraw, box: tuple[int, int, int, int], count: int) -> None:
    """Things of plain shape and colour in a box of the picture."""
    left, top, right, bottom = box
    for _ in range(count):
        wide, tall = rng.uniform(0.02, 0.15, 2) * (right - left)
        x, y = rng.uniform(left, right), rng.uniform(top, bottom)
        shape = (draw.ellipse, draw.rectangle)[int(rng.integers(2))]
        shape((x, y - tall, x + wide, y), _whole(_colour(rng)))


def _glow(rng: np.random.Generator, picture: Image.Image, count: int, radius: float) -> Image.Image:
    """Lamps: bright discs, and the light about them."""
    width, height = picture.size
    light = Image.new("RGB", picture.size)
    draw = ImageDraw.Draw(light)
    for _ in range(count):
        x, y, reach = rng.uniform(0, width), rng.uniform(0, 0.6 * height), width * radius * rng.uniform(0.3, 1)
        draw.ellipse((x - reach, y - reach, x + reach, y + reach), _whole((250.0, *rng.uniform(120, 240, 2))))
    soft = np.asarray(light.filter(ImageFilter.GaussianBlur(width * radius / 3)), np.float32)
    sharp = np.asarray(light, np.float32)
    return Image.fromarray((np.asarray(picture, np.float32) + 0.7 * soft + 0.3 * sharp).clip(0, 255).astype(np.uint8))


_KINDS: tuple[Callable[[np.random.Generator, tuple[int, int]], Image.Image], ...] = (_room, _street, _garden, _lights)
