"""How good an image is, measured from its pixels: the resolution that it really has, sharpness, light."""

import functools
import math
from collections.abc import Generator, Iterable
from typing import Callable, Union

import numpy as np
from PIL import Image
from scipy import fft

from ddl_tf.common.parallel import map_in_order
from ddl_tf.images.pillow_images import load_image, to_rgb

# Prefixed: where a set records the true strengths (`resolution_px` of the synthetic faces), they stay.
QUALITY_COLUMNS = (
    "measured_image_px",
    "measured_resolution_px",
    "measured_sharpness",
    "measured_brightness",
    "measured_contrast",
)

# Sharpness depends on the size of the image, so that all are brought to one first. Of that the middle is measured: it
# is the face, and light and blur of the synthetic faces are found better there than with the background.
_COMMON_SIZE, _MIDDLE = 112, 5 / 7
# A side is enough if what scaling down to it loses is this share of the image's variance, and a half grey level.
# Chosen on degraded images with 8 to 112 true pixels a side; they have no bias there.
_LOST_SHARE, _LOST_GREY = 0.003, 0.5


@functools.lru_cache(maxsize=64)
def _rings(height: int, width: int) -> tuple[np.ndarray, np.ndarray]:
    """The ring of each frequency, numbered by the side that shows it, and how many frequencies a ring has."""
    longer = max(height, width)
    down, across = np.arange(height)[:, None] / height, np.arange(width) / width
    rings = np.minimum(longer * np.hypot(down, across), longer - 1).astype(np.intp).ravel()
    return rings, np.bincount(rings, minlength=longer)


def native_resolution(grey: np.ndarray) -> float:
    """Estimate how many pixels a side a grey image (0..255) really has: the least that it can be scaled down to.

    By Parseval's theorem, what scaling down to n pixels loses is the energy of the cosine transform beyond frequency
    n. Pixel noise has as much energy at every frequency, is measured in the highest ones, and subtracted.
    """
    height, width = grey.shape
    energy = np.square(fft.dctn(grey.astype(np.float32), norm="ortho"))
    energy[0, 0] = 0
    noise = energy[3 * height // 4 :, 3 * width // 4 :].mean()
    rings, counts = _rings(height, width)
    content = np.bincount(rings, energy.ravel(), minlength=len(counts)) - noise * counts
    # lost[n] is the energy that n pixels a side do not show.
    lost = np.append(np.cumsum(content[::-1])[::-1], 0.0)
    allowed = max(0.0, _LOST_SHARE * lost[0]) + _LOST_GREY**2 * grey.size
    first = int(np.argmax(lost <= allowed))
    if first == 0:
        return 1.0
    return max(1.0, float(first - (allowed - lost[first]) / (lost[first - 1] - lost[first])))


def _middle(grey: np.ndarray) -> np.ndarray:
    """The middle of an image."""
    down, across = (round(side * (1 - _MIDDLE) / 2) for side in grey.shape)
    return grey[down : grey.shape[0] - down, across : grey.shape[1] - across]


def _laplacian_variance(grey: np.ndarray) -> float:
    """The variance of the Laplacian; the picture goes on as it is at its edges."""
    padded = np.pad(grey, 1, mode="edge")
    neighbours = padded[:-2, 1:-1] + padded[2:, 1:-1] + padded[1:-1, :-2] + padded[1:-1, 2:]
    return float(np.var(neighbours - 4 * grey))


def measure_quality(encoded: bytes) -> dict[str, float]:
    """Measure the quality of one encoded image: JPEG, PNG, or whatever else Pillow reads.

    Returns:
        By name, in the order of `QUALITY_COLUMNS`: `measured_image_px`, the longer side as stored, and
        `measured_resolution_px`, see `native_resolution`; of the middle of the grey image (5/7 of its sides), scaled to
        a longer side of 112 px: `measured_sharpness`, the variance of the Laplacian, `measured_brightness` and
        `measured_contrast`, the mean and the standard deviation of the luminance, 0..255.

    Raises:
        ValueError: if it cannot be decoded; the message says why.
    """
    image = load_image(encoded)
    # All come to grey by way of what training sees of them.
    image = (image if image.mode == "L" else to_rgb(image)).convert("L")
    grey = np.asarray(image, np.float32)
    longer = max(image.size)
    common = grey
    if longer != _COMMON_SIZE:
        width, height = (max(1, round(side * _COMMON_SIZE / longer)) for side in image.size)
        common = np.asarray(image.resize((width, height), Image.Resampling.BICUBIC), np.float32)
    face = _middle(common)
    values = (longer, native_resolution(grey), _laplacian_variance(face), face.mean(), face.std())
    return dict(zip(QUALITY_COLUMNS, map(float, values)))


def _measure_or_reason(encoded: bytes) -> Union[dict[str, float], str]:
    try:
        return measure_quality(encoded)
    except ValueError as error:
        return str(error)


def measure_many(
    images: Iterable[bytes], report: Callable[[int, str], None]
) -> Generator[dict[str, float], None, None]:
    """Measure the quality of many encoded images, by several threads: in order, what `measure_quality` gives.

    For an image that cannot be decoded `report` gets its position and the reason, and all columns are NaN.
    """
    for position, measured in enumerate(map_in_order(_measure_or_reason, images)):
        if isinstance(measured, str):
            report(position, measured)
            measured = dict.fromkeys(QUALITY_COLUMNS, math.nan)
        yield measured
