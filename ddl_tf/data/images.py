"""Encoded images, outside of the TensorFlow graph."""

import io

import numpy as np
from PIL import Image

# What the input pipeline decodes.
STORED_FORMATS = ("JPEG", "PNG")
JPEG_QUALITY = 95


def load_image(encoded: bytes) -> Image.Image:
    """Decode an image as it is, whole.

    Args:
        encoded: JPEG, PNG, or whatever else Pillow reads.

    Returns:
        The image, in its own mode.

    Raises:
        ValueError: if it cannot be decoded; the message says why.
    """
    if not encoded:
        raise ValueError("it is empty")
    try:
        image = Image.open(io.BytesIO(encoded))
        image.load()
    except Exception as error:  # on damaged files Pillow raises nearly anything
        reason = str(error).split(" <_io")[0].replace("cannot identify image file", "it is no image")
        raise ValueError(reason or type(error).__name__) from None
    return image


def decode_image(encoded: bytes) -> np.ndarray:
    """Decode an image.

    Args:
        encoded: JPEG or PNG.

    Returns:
        uint8 `[height, width, 3]`, RGB.

    Raises:
        ValueError: if it cannot be decoded; the message says why.
    """
    return np.asarray(load_image(encoded).convert("RGB"))


def shrink_image(image: Image.Image, size: int) -> tuple[Image.Image, bytes]:
    """Make an image smaller and encode it anew, as JPEG of high quality.

    Args:
        image: an image.
        size: its longer side afterwards, in pixels.

    Returns:
        The smaller image and its encoded bytes.
    """
    scale = size / max(image.size)
    width, height = (max(1, round(side * scale)) for side in image.size)
    image = image.convert("RGB").resize((width, height), Image.Resampling.LANCZOS)
    return image, encode_jpeg(image)


def encode_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Encode an image as JPEG.

    Args:
        image: RGB or grey.
        quality: 1 to 100.

    Returns:
        The encoded image.
    """
    encoded = io.BytesIO()
    # Without subsampling: small faces would lose colour detail that they have.
    image.save(encoded, "JPEG", quality=quality, subsampling=0)
    return encoded.getvalue()
