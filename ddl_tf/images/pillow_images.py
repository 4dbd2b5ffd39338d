"""Encoded images, outside of the TensorFlow graph: the same pixels that `ddl_tf.images.decoding` gives inside of it.

Both are tested to be equal to the bit. Images are upright: an orientation in EXIF is undone wherever an image is read.
"""

import io
from typing import Optional

import numpy as np
from PIL import Image

# What the input pipeline decodes.
STORED_FORMATS = ("JPEG", "PNG")
JPEG_QUALITY = 95
# The largest photographs that cameras and phones save by themselves have 50 to 61 million pixels. A file of a few
# hundred bytes can claim many more, and a decoder would take 3 bytes for each. At this limit one image takes 0.2 GB,
# some 0.6 GB where it is a progressive JPEG.
MAX_PIXELS = 64_000_000
# By the orientation in EXIF, its field 0x0112.
_TURNS = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def _turn(image: Image.Image) -> Optional[Image.Transpose]:
    """What brings an opened image upright; None if it is, or its EXIF is damaged."""
    # As the graph, and unlike Pillow, an orientation counts in EXIF before the pixels alone, not in XMP.
    encoded = image.info.get("exif")
    if not encoded:
        return None
    exif = Image.Exif()
    try:
        exif.load(encoded)
        return _TURNS.get(exif.get(0x0112, 1))
    except Exception:  # on damaged EXIF Pillow raises nearly anything, and the pixels may be whole
        return None


def load_image(encoded: bytes) -> Image.Image:
    """Decode an image, whole and upright: JPEG, PNG, or whatever else Pillow reads; of several pictures the first.

    The image is in its own mode. Its `format` is "JPEG" also for a phone's JPEG that Pillow calls MPO. Raises a
    ValueError that says why if it cannot be decoded.
    """
    if not encoded:
        raise ValueError("it is empty")
    try:
        image: Image.Image = Image.open(io.BytesIO(encoded))
        # MPO is a JPEG with further pictures behind it.
        kind = "JPEG" if image.format == "MPO" else image.format
        image = load_upright(image)
    except Exception as error:  # on damaged files Pillow raises nearly anything
        raise ValueError(decoding_problem(error)) from None
    image.format = kind
    return image


def load_upright(image: Image.Image) -> Image.Image:
    """Load the pixels of an opened image, and turn them as its EXIF says."""
    turn = _turn(image)
    image.load()
    if turn is not None:
        image = image.transpose(turn)
        # Some versions of Pillow would write it into a PNG file, and the image be turned twice.
        del image.info["exif"]
    return image


def decoding_problem(error: Exception) -> str:
    """What Pillow's error says is wrong with a file."""
    reason = str(error).split(" <_io")[0].replace("cannot identify image file", "it is no image")
    return reason or type(error).__name__


def to_rgb(image: Image.Image) -> Image.Image:
    """Bring an image of any mode to RGB, as TensorFlow's decoder does.

    Alpha is dropped, and of 16 bits the high 8 count. Pillow's own conversion makes 16-bit grey white.
    """
    if image.mode.startswith("I"):
        image = Image.fromarray((np.asarray(image) // 256).clip(0, 255).astype(np.uint8))
    elif image.mode == "CMYK":
        # TensorFlow cuts off where Pillow rounds.
        light = 255 - np.asarray(image, np.uint16)
        if image.format == "JPEG" and "adobe" not in image.info:
            # Only Adobe stores ink inverted; Pillow takes every JPEG to be Adobe's.
            light = 255 - light
        image = Image.fromarray((light[..., :3] * light[..., 3:] // 255).astype(np.uint8))
    return image.convert("RGB")


def decode_image(encoded: bytes) -> np.ndarray:
    """Decode a JPEG or PNG image to uint8 `[height, width, 3]`, RGB, upright; a ValueError says why it cannot be."""
    image = load_image(encoded)
    if image.format not in STORED_FORMATS:
        raise ValueError(f"{image.format}, where only JPEG and PNG are decoded; convert it")
    return np.asarray(to_rgb(image))


def why_undecodable(encoded: bytes) -> Optional[str]:
    """Why `decode_image` cannot decode an image, None if it can."""
    try:
        decode_image(encoded)
    except ValueError as error:
        return str(error)
    return None


def resize_image(image: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """Resize a uint8 image `[height, width, 3]` to float32 of `size` (height, width), as `decoding.resize_images`.

    Pillow's bilinear filter is wider where it shrinks, as that of TensorFlow with `antialias`; a test compares them.
    """
    if image.shape[:2] == tuple(size):
        return image.astype(np.float32)
    # In 8 bits Pillow would round.
    channels = [Image.fromarray(image[..., channel]).convert("F") for channel in range(3)]
    return np.stack([np.asarray(channel.resize(size[::-1], Image.Resampling.BILINEAR)) for channel in channels], axis=2)


def may_be_turned(encoded: bytes) -> bool:
    """Whether there may be EXIF in an image or record: a search for its marks in JPEG and PNG, which costs little."""
    return b"Exif\0\0" in encoded or b"eXIf" in encoded


def upright_bytes(encoded: bytes) -> bytes:
    """Encode an image anew, as upright PNG, if its EXIF turns it and it can be decoded; else return the same bytes."""
    if not may_be_turned(encoded):
        return encoded
    try:
        with Image.open(io.BytesIO(encoded)) as header:
            turned = header.format in (*STORED_FORMATS, "MPO") and _turn(header) is not None
        return encode_png(to_rgb(load_image(encoded))) if turned else encoded
    except Exception:  # on damaged files Pillow raises nearly anything; whoever decodes the image says what is wrong
        return encoded


def shrink_image(image: Image.Image, size: int) -> tuple[Image.Image, bytes]:
    """Shrink an image so that its longer side has `size` pixels, and encode it as JPEG of high quality."""
    width, height = (max(1, round(side * (size / max(image.size)))) for side in image.size)
    image = to_rgb(image).resize((width, height), Image.Resampling.LANCZOS)
    return image, encode_jpeg(image)


def encode_jpeg(image: Image.Image, quality: int = JPEG_QUALITY) -> bytes:
    """Encode an RGB or grey image as JPEG, of a quality from 1 to 100."""
    encoded = io.BytesIO()
    # Without subsampling: small faces would lose colour detail that they have.
    image.save(encoded, "JPEG", quality=quality, subsampling=0)
    return encoded.getvalue()


def encode_png(image: Image.Image) -> bytes:
    """Encode an image of 8 bits as PNG, without loss."""
    encoded = io.BytesIO()
    # Hardly smaller at a higher level, and several times slower.
    image.save(encoded, "PNG", compress_level=1)
    return encoded.getvalue()
