"""Hard copies of easy images: degradations of drawn strength, written as text such as `resolution:8-16+jpeg:30`."""

import dataclasses
import hashlib
import re
from collections.abc import Generator, Sequence
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np
from PIL import Image, ImageFilter

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import map_in_order
from ddl_tf.data.store import Faces
from ddl_tf.images.pillow_images import JPEG_QUALITY, encode_jpeg, load_image, to_rgb
from ddl_tf.importers.source import Problem, Sample, Source, Value
from ddl_tf.mining import occluders
from ddl_tf.mining.selection import identity_names


class Kind(NamedTuple):
    """A kind of degradation: the least and the greatest number that may be given, and the column that records it."""

    low: float
    high: float
    whole: bool
    column: str
    help: str


# In the order in which they happen to a picture: in the scene, in the camera, in the file.
KINDS = {
    "mask": Kind(0.1, 1, False, "mask", "how high a surgical mask is worn"),
    "sunglasses": Kind(0.1, 1, False, "sunglasses", "how dark they are"),
    "bar": Kind(0, 1, False, "occlusion", "share hidden by a band"),
    "occlusion": Kind(0, 1, False, "occlusion", "share hidden by a rectangle"),
    "light": Kind(0, 4, False, "light", "gain"),
    "side_light": Kind(0, 1, False, "side_light", "light that is missing on the dark side"),
    "blur": Kind(0, 50, False, "blur_px", "sigma in pixels at a side of 112"),
    "resolution": Kind(2, 4096, True, "resolution_px", "pixels a side"),
    "noise": Kind(0, 100, False, "noise", "sigma in grey levels"),
    "grey": Kind(0, 1, False, "grey", "share of the colour that is gone"),
    "jpeg": Kind(1, 100, True, "jpeg_quality", "quality"),
}
STRENGTH_COLUMNS = tuple(dict.fromkeys(kind.column for kind in KINDS.values()))


def neutral_strengths(side: int) -> dict[str, float]:
    """Give the strengths of an untouched image, whose longer side has `side` pixels, by the names of the columns."""
    return {**dict.fromkeys(STRENGTH_COLUMNS, 0.0), "light": 1.0, "resolution_px": float(side), "jpeg_quality": 100.0}


@dataclasses.dataclass(frozen=True)
class Degradation:
    """What makes an image hard: the user's `text`, and the least and greatest strength of each kind in it."""

    text: str
    ranges: dict[str, tuple[float, float]]

    def apply(self, image: Image.Image, rng: np.random.Generator) -> tuple[Image.Image, dict[str, float]]:
        """Degrade one image, with strengths drawn uniformly: an RGB image of the same size, and its `STRENGTH_COLUMNS`.

        The order of the kinds in the text does not matter: occluders and light are in the scene, blur, resolution and
        noise in the camera. Noise is that of the camera's pixels, before they are scaled up again. A JPEG quality is
        only drawn: `degrade_image` encodes with it. `KINDS` says what the strengths are; at `neutral_strengths` nothing
        is changed.

        Example:
            >>> image = Image.new("RGB", (8, 8))
            >>> face, strengths = parse_degradation("light:0.5").apply(image, np.random.default_rng(0))
            >>> face.size, strengths["light"]
            ((8, 8), 0.5)
        """
        longer = max(image.size)
        drawn: dict[str, float] = {}
        strengths = {**neutral_strengths(longer), "jpeg_quality": float(JPEG_QUALITY)}
        for name, kind in KINDS.items():
            if name in self.ranges:
                low, high = self.ranges[name]
                value = rng.integers(int(low), int(high), endpoint=True) if kind.whole else rng.uniform(low, high)
                drawn[name] = strengths[kind.column] = float(value)
        image = to_rgb(image)
        pixels, strengths["occlusion"] = _occluded(np.asarray(image, np.float32), drawn, rng)
        pixels = pixels * np.float32(strengths["light"])
        if strengths["side_light"]:
            pixels = pixels * _side_light(image.height, image.width, strengths["side_light"], rng)
        degraded = _picture(pixels)
        if strengths["blur_px"]:
            degraded = degraded.filter(ImageFilter.GaussianBlur(strengths["blur_px"] * longer / 112))
        strengths["resolution_px"] = min(strengths["resolution_px"], float(longer))
        scale = strengths["resolution_px"] / longer
        if scale < 1:
            small = max(1, round(image.width * scale)), max(1, round(image.height * scale))
            degraded = degraded.resize(small, Image.Resampling.BOX)
        if strengths["noise"]:
            grain = rng.standard_normal((degraded.height, degraded.width, 3), np.float32)
            degraded = _picture(np.asarray(degraded, np.float32) + np.float32(strengths["noise"]) * grain)
        if scale < 1:
            degraded = degraded.resize(image.size, Image.Resampling.BICUBIC)
        if strengths["grey"]:
            degraded = Image.blend(degraded, degraded.convert("L").convert("RGB"), strengths["grey"])
        return degraded, strengths


def _picture(pixels: np.ndarray) -> Image.Image:
    return Image.fromarray(np.clip(pixels + np.float32(0.5), 0, 255).astype(np.uint8))


def _occluded(pixels: np.ndarray, drawn: dict[str, float], rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """Lay the occluders over an image, float32 `[height, width, 3]`; also gives the share of the area they hide."""
    height, width = pixels.shape[:2]
    seen = np.ones((height, width), np.float32)
    for name, strength in drawn.items():
        shade: Union[float, np.ndarray] = 1.0
        if name == "mask":
            hidden, light = occluders.surgical_mask(height, width, strength)
            colour, shade = rng.uniform(30, 235, 3), light[..., None]
        elif name == "sunglasses":
            hidden, colour = occluders.sunglasses(height, width, strength), rng.uniform(10, 50, 3)
        elif name in ("bar", "occlusion"):
            draw = occluders.bar if name == "bar" else occluders.patch
            hidden, colour = draw(height, width, strength, rng), rng.uniform(10, 245, 3)
        else:
            continue
        paint = colour.astype(np.float32) * shade
        pixels = pixels + hidden[..., None] * (paint - pixels)
        seen *= 1 - hidden
    return pixels, float(1 - seen.mean())


def _side_light(height: int, width: int, strength: float, rng: np.random.Generator) -> np.ndarray:
    """A light from one side: a factor for every pixel, `[height, width, 1]`, from 1 down to 1 - strength."""
    turn = rng.choice([0, np.pi]) + rng.uniform(-np.pi / 6, np.pi / 6)
    across = (np.arange(width) + 0.5) / width - 0.5
    down = (np.arange(height)[:, None] + 0.5) / height - 0.5
    place = np.clip(0.5 + (across * np.cos(turn) + down * np.sin(turn)) / 0.8, 0, 1)
    return (1 - strength * place * place * (3 - 2 * place)).astype(np.float32)[..., None]


def parse_degradation(text: str) -> Degradation:
    """Read a degradation from text: kinds joined by `+`, each with a strength, or a range to draw it from.

    Args:
        text: such as `resolution:8`, `light:0.2-0.5` or `resolution:8-16+jpeg:30`.

    Raises:
        InputError: if it cannot be read, a kind is not known or given twice, or a strength is out of range.

    Example:
        >>> parse_degradation("resolution:8-16+jpeg:30").ranges
        {'resolution': (8.0, 16.0), 'jpeg': (30.0, 30.0)}
    """
    ranges: dict[str, tuple[float, float]] = {}
    for part in text.split("+"):
        match = re.fullmatch(r"\s*(\w+)\s*:\s*(\d+\.?\d*|\.\d+)\s*(?:-\s*(\d+\.?\d*|\.\d+)\s*)?", part)
        if not match:
            raise _unreadable(text, f"{part.strip()!r} is not KIND:STRENGTH or KIND:LOW-HIGH")
        name = match[1]
        if name not in KINDS:
            raise _unreadable(text, f"there is no kind {name!r}")
        if name in ranges:
            raise _unreadable(text, f"{name} is given twice")
        kind, low = KINDS[name], float(match[2])
        high = float(match[3]) if match[3] else low
        if low > high:
            raise _unreadable(text, f"{name} runs from {low:g} down to {high:g}; give the lower end first")
        if low < kind.low or high > kind.high:
            raise _unreadable(text, f"{name} must be within {kind.low:g}-{kind.high:g}")
        if kind.whole and (low % 1 or high % 1):
            raise _unreadable(text, f"{name} must be a whole number")
        ranges[name] = low, high
    return Degradation(text.strip(), ranges)


def _unreadable(text: str, reason: str) -> InputError:
    kinds = ", ".join(f"{name}:{kind.low:g}-{kind.high:g} ({kind.help})" for name, kind in KINDS.items())
    return InputError(f"degradation {text!r}: {reason}; the kinds are {kinds}, joined by +")


def degrade_image(encoded: bytes, degradation: Degradation, rng: np.random.Generator) -> tuple[bytes, dict[str, float]]:
    """Degrade one encoded image: a JPEG of the drawn quality (95 if none is drawn), and the strengths."""
    image, strengths = degradation.apply(load_image(encoded), rng)
    return encode_jpeg(image, int(strengths["jpeg_quality"])), strengths


def degraded_source(faces: Faces, rows: np.ndarray, students: Sequence[Degradation], seed: int) -> Source:
    """Make a set of easy images and hard copies of them: image by image the original, then its copies.

    Args:
        faces: the sets that hold the images.
        rows: `[n]` int, the positions of the easy images in the index.
        students: the degradation of each student.
        seed: a copy follows from it, the row and the student alone.

    Returns:
        `n * (1 + len(students))` samples: the untouched image in group 0, its copies in groups 1, 2, ... They keep the
        identity's key and have the columns `source_row`, `degradation` (the text; empty for the originals) and
        `STRENGTH_COLUMNS`.

    Raises:
        InputError: if there are no rows or no students, or a row is not in the index.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows) or not len(students):
        raise InputError(f"{len(rows)} images and {len(students)} degradations: give at least one of each")
    if rows.min() < 0 or rows.max() >= len(faces):
        raise InputError(f"row {rows.min() if rows.min() < 0 else rows.max()}: the set has rows 0 to {len(faces) - 1}")
    keys = identity_names(faces)[rows]
    shards, each = faces.index["shard"].to_numpy()[rows], 1 + len(students)

    def sample(item: int) -> Union[Sample, Problem]:
        number, group = divmod(item, each)
        row = int(rows[number])
        place = f"{faces.shards[shards[number]]}, row {row}"
        (encoded,) = faces.read(np.array([row]))
        columns: dict[str, Value] = {"source_row": row, "degradation": students[group - 1].text if group else ""}
        try:
            if group:
                rng = np.random.default_rng([seed, row, group])
                encoded, strengths = degrade_image(encoded, students[group - 1], rng)
            else:
                strengths = neutral_strengths(max(load_image(encoded).size))
        except ValueError as error:
            return Problem("corrupt image", place, str(error))
        return Sample(encoded, str(keys[number]), place, group, {**columns, **strengths})

    def read(start: int) -> Generator[Union[Sample, Problem], None, None]:
        return map_in_order(sample, range(start, each * len(rows)))

    # The rows are part of the name: what was stored of other rows must not be gone on with.
    folders = ", ".join(dict.fromkeys(str(Path(shard).parent) for shard in faces.shards))
    name = f"{folders}, {len(rows)} rows ({hashlib.sha256(rows.tobytes()).hexdigest()[:12]})"
    return Source("degraded", name, each * len(rows), read)
