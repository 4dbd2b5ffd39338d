"""Encoded images as a model's input: what is evaluated is what is served."""

import re
from typing import Optional

import tensorflow as tf

# How the files of formats begin that people have, and that are not decoded.
_REFUSED = {b"GIF8": "GIF", b"BM": "BMP", b"RIFF": "WebP", b"II*\0": "TIFF", b"MM\0*": "TIFF"}


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode one JPEG or PNG image to `[height, width, 3]` uint8 RGB, as `pillow_images.decode_image`, but for EXIF.

    JPEG is decoded by the accurate transform (`dct_method="INTEGER_ACCURATE"`), as Pillow and OpenCV do; TensorFlow's
    default is a faster one, off by 1 to 2 grey levels on average. EXIF turns nothing here: the store and evaluation
    give upright images (`upright_bytes`), and the served graph turns its batch.
    """
    # The operation takes JPEG, PNG and GIF of one picture, whose transparent pixels no two decoders agree about, and in
    # later versions of TensorFlow WebP.
    is_other = (tf.strings.substr(encoded, 0, 3) == b"GIF") | (tf.strings.substr(encoded, 0, 4) == b"RIFF")
    encoded = tf.where(is_other, b"", encoded)
    return tf.io.decode_jpeg(encoded, channels=3, dct_method="INTEGER_ACCURATE")


def why_undecodable(encoded: bytes) -> Optional[str]:
    """Why an encoded image cannot be decoded, None if it can; the errors of tf.data do not say which image it was."""
    for begins, kind in _REFUSED.items():
        if encoded.startswith(begins):
            return f"{kind}, where only JPEG and PNG are decoded; convert it"
    try:
        decode_image(encoded)
    except tf.errors.OpError as error:
        # "{{function_node __wrapped__DecodeJpeg...}} Input is empty. [Op:DecodeJpeg]"
        return re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).strip(" \n.")
    return None


def resize_images(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resize `[..., height, width, 3]` images to float32 of `size`; images of that size stay exactly as they are."""
    resized = tf.cond(
        tf.reduce_all(tf.shape(images)[-3:-1] == size),
        lambda: tf.cast(images, tf.float32),
        # Without antialiasing a large photograph is sampled at single pixels. Of uint8 it gives float32 too; a
        # photograph that is cast before would take four times its memory.
        lambda: tf.image.resize(images, size, antialias=True),
    )
    return tf.ensure_shape(resized, [*images.shape[:-3], *size, 3])
