"""Rows of unit length."""

import tensorflow as tf

# Beyond it the square of a number, summed, may leave float32.
_LARGE = 1e15


def unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Normalise `[rows, dim]` of any float type to float32 of unit length; shorter ones than 1e-6 stay below 1."""
    rows = tf.cast(rows, tf.float32)
    largest = tf.reduce_max(tf.abs(tf.stop_gradient(rows)), axis=1, keepdims=True)
    # Others are divided by 1, and so are what they were to the last bit.
    return tf.math.l2_normalize(rows / tf.where(largest > _LARGE, largest, 1.0), axis=1)
