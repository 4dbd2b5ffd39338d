"""Single images of synthetic faces, numbered, and many of them drawn at a time."""

import collections
import dataclasses
import itertools
import signal
from collections.abc import Iterator, Sequence
from concurrent.futures import Future

import numpy as np
from PIL import Image

from ddl_tf.common.parallel import spawned_processes, usable_cores
from ddl_tf.images.alignment import cut_face
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.importers.source import Sample, Value
from ddl_tf.synthetic.conditions import draw_conditions
from ddl_tf.synthetic.drawing import draw_face
from ddl_tf.synthetic.landmarks import face_landmarks
from ddl_tf.synthetic.traits import draw_traits

# Starting further processes takes about as long as drawing this many images.
_CHUNK, _WORTH_PROCESSES = 64, 600


def render(
    identity: int, image: int, seed: int = 0, size: int = 112, hard: bool = False, aligned: bool = False
) -> tuple[np.ndarray, dict[str, Value]]:
    """Draw one image of an identity; the same for the same numbers, in whatever order they are drawn.

    Args:
        identity: number of the identity, 0, 1, ...
        image: number of the image within the identity, 0, 1, ...
        seed: seed of the whole population.
        size: side of the image in pixels.
        hard: whether the image is hard (large yaw, low resolution, bad light, an occluder, blur) or easy.
        aligned: whether the face is brought to ArcFace's template by its true landmarks, as `prepare photos` does it
            by those that it finds.

    Returns:
        The image, uint8 `[size, size, 3]` RGB, and the true strength of each variation: `yaw`, `pitch`, `roll` and
        `light_azimuth` in degrees, `light` (1 is well lit), `light_contrast`, `saturation` (0 is black and white),
        `smile` (-1 to 1), `mouth_open` (0 to 1), `resolution_px` (pixels a side before scaling up), `hair` ("own" or
        another style), `occluder`, `occlusion` (share of the visible face and hair that it hides), `blur` (standard
        deviation in percent of the side), `noise` (in grey levels), and the `jpeg_quality` to store the image with.

    Example:
        >>> image, columns = render(identity=3, image=0, seed=1, size=64)
        >>> image.shape
        (64, 64, 3)
    """
    seen = draw_conditions(identity, image, seed, size, hard)
    traits = draw_traits(identity, seed)
    pixels, occlusion = draw_face(traits, seen, size)
    if aligned:
        pixels = cut_face(Image.fromarray(pixels), face_landmarks(traits, seen, size), size)
    columns: dict[str, Value] = {
        "yaw": seen.yaw,
        "pitch": seen.pitch,
        "roll": seen.roll,
        "light": seen.light,
        "light_azimuth": seen.light_azimuth,
        "light_contrast": seen.contrast,
        "saturation": seen.saturation,
        "smile": seen.smile,
        "mouth_open": seen.mouth_open,
        "resolution_px": seen.resolution,
        "hair": seen.hair or "own",
        "occluder": seen.occluder,
        "occlusion": occlusion,
        "blur": seen.blur,
        "noise": seen.noise,
        "jpeg_quality": seen.jpeg_quality,
    }
    return pixels, columns


@dataclasses.dataclass(frozen=True)
class Shot:
    """One image to draw; the fields are the arguments of `render`. The hard ones are group 1."""

    identity: int
    image: int
    seed: int
    size: int
    hard: bool
    aligned: bool = False

    def draw(self) -> Sample:
        """Draw it, and encode it as JPEG."""
        pixels, columns = render(*dataclasses.astuple(self))
        image = encode_jpeg(Image.fromarray(pixels), int(columns["jpeg_quality"]))
        source = f"synthetic seed {self.seed}, identity {self.identity}, image {self.image}"
        return Sample(image, self.identity, source, int(self.hard), columns)


def plan_shots(
    identities: range, images: int, seed: int, size: int, hard_fraction: float, aligned: bool = False
) -> list[Shot]:
    """All images of a set in their order; an identity's hard ones are spread evenly among its images."""
    hard = [int((k + 1) * hard_fraction + 1e-9) > int(k * hard_fraction + 1e-9) for k in range(images)]
    return [Shot(identity, k, seed, size, hard[k], aligned) for identity in identities for k in range(images)]


def draw_shots(shots: Sequence[Shot], start: int = 0) -> Iterator[Sample]:
    """Draw images in order, from one on; many are drawn by a process for each core."""
    shots, cores = shots[start:], usable_cores()
    if len(shots) < _WORTH_PROCESSES or cores < 2:
        yield from map(Shot.draw, shots)
        return
    waiting: collections.deque[Future[list[Sample]]] = collections.deque()
    chunks = (shots[place : place + _CHUNK] for place in range(0, len(shots), _CHUNK))
    with spawned_processes(cores, signal.signal, signal.SIGINT, signal.SIG_IGN) as pool:
        # No more than a few chunks at a time: who stores them may be slower than those who draw.
        waiting.extend(pool.submit(_draw_all, chunk) for chunk in itertools.islice(chunks, 3 * cores))
        while waiting:
            yield from waiting.popleft().result()
            waiting.extend(pool.submit(_draw_all, chunk) for chunk in itertools.islice(chunks, 1))


def _draw_all(shots: Sequence[Shot]) -> list[Sample]:
    return [shot.draw() for shot in shots]
