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
    """A decoded photo: RGB pixels, upright, and how many pixels of the file a pixel is wide (1, or about 2, 4, 8)."""

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
        scale = width / image.width
        return Photo(to_rgb(load_upright(image)), scale)
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise ValueError(decoding_problem(error)) from None
