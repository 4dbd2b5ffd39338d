"""Photos decoded, upright, at the size that is needed: a photo has many times the pixels that its faces need."""

import io
import math
from typing import NamedTuple

from PIL import Image
from PIL.JpegImagePlugin import JpegImageFile

from ddl_tf.images.pillow_images import decoding_problem, load_upright, to_rgb

# A JPEG decoder gives 1/2, 1/4 or 1/8 of the sides for less than the whole; the largest photos of phones have 200
# million pixels. Other files are decoded whole, at 3 to 4 bytes a pixel.
MOST_JPEG_PIXELS, MOST_PIXELS = 256_000_000, 64_000_000
# How such files go on after their first four bytes.
_HEIF = tuple(b"ftyp" + brand for brand in (b"heic", b"heix", b"hevc", b"mif1", b"msf1", b"avif"))


class Photo(NamedTuple):
    """A decoded photo: RGB pixels, upright, and how many pixels of the file a pixel is wide and high."""

    image: Image.Image
    scale: float


def decode_photo(encoded: bytes, least_side: int) -> Photo:
    """Decode a photo: whatever Pillow reads, of several pictures the first, upright, in RGB.

    Args:
        encoded: the file.
        least_side: a JPEG file is decoded at the smallest of 1, 1/2, 1/4, 1/8 of its size whose longer side has as many
            pixels.

    Raises:
        ValueError: if it cannot be decoded, or is too large; the message says why.
    """
    if not encoded:
        raise ValueError("it is empty")
    if encoded[4:12] in _HEIF:
        raise ValueError("HEIC or AVIF, as phones save photos; convert it to JPEG")
    try:
        is_jpeg = encoded.startswith(b"\xff\xd8\xff")
        # Pillow's own opener refuses 179 million pixels, and takes MPO's further pictures for frames.
        image: Image.Image = JpegImageFile(io.BytesIO(encoded)) if is_jpeg else Image.open(io.BytesIO(encoded))
        width, pixels, most = image.width, image.width * image.height, MOST_JPEG_PIXELS if is_jpeg else MOST_PIXELS
        if pixels > most:
            raise ValueError(f"{pixels:,} pixels, where {most:,} are read of {image.format}; make it smaller")
        share = min(1.0, least_side / max(image.size))
        image.draft("RGB", (math.ceil(image.width * share), math.ceil(image.height * share)))
        # The last column may show less of the file than the others. Where EXIF turns the photo it becomes the first,
        # and all places are off by what it lacks, less than a pixel of the decoded photo.
        scale = round(width / image.width)
        return Photo(to_rgb(load_upright(image)), scale)
    except Image.DecompressionBombError:
        raise ValueError(
            f"far more than the {MOST_PIXELS:,} pixels that are read of such files; make it smaller"
        ) from None
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise ValueError(decoding_problem(error)) from None


def shrink_photo(photo: Photo, side: int) -> Photo:
    """Average a photo to no more than `side` pixels on its longer side; a pixel stays as high as wide."""
    width, height = photo.image.size
    factor = max(width, height) / side
    if factor <= 1:
        return photo
    # What is less than a pixel is left out at the right and at the bottom.
    columns, rows = (max(1, math.floor(length / factor + 1e-6)) for length in (width, height))
    shown = (0.0, 0.0, min(columns * factor, width), min(rows * factor, height))
    return Photo(photo.image.resize((columns, rows), Image.Resampling.BOX, shown), photo.scale * factor)
