"""Rows of unit length."""

import tensorflow as tf

# Beyond it the square of a number, summed, may leave float32.
_LARGE = 1e15


def unit_rows(rows: tf.Tensor) -> tf.Tensor:
    """Normalise rows, large ones included: squares that overflow would make them 0.

    Args:
        rows: `[rows, dim]`, of any float type.

    Returns:
        `[rows, dim]` float32, of unit length; rows shorter than 1e-6 are shorter than 1.

    Example:
        >>> unit_rows(tf.constant([[3e30, 4e30]])).numpy().round(3).tolist()
        [[0.6000000238418579, 0.800000011920929]]
    """
    rows = tf.cast(rows, tf.float32)
    largest = tf.reduce_max(tf.abs(tf.stop_gradient(rows)), axis=1, keepdims=True)
    # Others are divided by 1, and so are what they were to the last bit.
    return tf.math.l2_normalize(rows / tf.where(largest > _LARGE, largest, 1.0), axis=1)
