"""Encoded images as a model's input: what is evaluated is what is served."""

import re
from typing import Optional

import tensorflow as tf


def decode_image(encoded: tf.Tensor) -> tf.Tensor:
    """Decode one JPEG or PNG image.

    Args:
        encoded: `[]` string.

    Returns:
        `[height, width, 3]` uint8 RGB.

    Raises:
        tf.errors.InvalidArgumentError: if it is not an image.
    """
    # Without it an animated GIF has four dimensions and every other image none that is known.
    return tf.io.decode_image(encoded, channels=3, dtype=tf.uint8, expand_animations=False)


def why_undecodable(encoded: bytes) -> Optional[str]:
    """Tell why an image cannot be decoded; the errors of tf.data do not say which image it was.

    Args:
        encoded: JPEG or PNG.

    Returns:
        The reason; None if it can be decoded.
    """
    try:
        decode_image(encoded)
    except tf.errors.OpError as error:
        # "{{function_node __wrapped__DecodeImage...}} Input is empty. [Op:DecodeImage]"
        return re.sub(r"\{\{.*?\}\}|\[Op:.*?\]", "", error.message).strip(" \n.")
    return None


def resize_images(images: tf.Tensor, size: tuple[int, int]) -> tf.Tensor:
    """Resize images to a model's size; images of that size stay exactly as they are.

    Args:
        images: `[height, width, 3]` or `[batch, height, width, 3]`, values 0..255.
        size: (height, width) in pixels.

    Returns:
        float32 of the same rank, values 0..255.
    """
    resized = tf.cond(
        tf.reduce_all(tf.shape(images)[-3:-1] == size),
        lambda: tf.cast(images, tf.float32),
        # Without antialiasing a large photograph is sampled at single pixels. Of uint8 it gives float32 too; a
        # photograph that is cast before would take four times its memory.
        lambda: tf.image.resize(images, size, antialias=True),
    )
    return tf.ensure_shape(resized, [*images.shape[:-3], *size, 3])
