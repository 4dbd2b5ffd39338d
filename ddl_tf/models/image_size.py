"""The size of the images that a model takes."""

import tensorflow as tf

from ddl_tf.common.errors import InputError


def image_size(model: tf.keras.Model) -> tuple[int, int]:
    """Return the (height, width) in pixels that an embedding model takes; refuse (InputError) one of no fixed size."""
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3 or None in shape[1:3]:
        raise InputError(f"the model takes input of shape {shape}: expected [batch, height, width, 3] of fixed size")
    return shape[1], shape[2]
