"""Checks of arguments, at once; and of values, which a graph makes when it runs."""

import numbers
from typing import Any

import tensorflow as tf


def require(condition: tf.Tensor, message: str, value: tf.Tensor) -> list[tf.Operation]:
    """Refuse a value: at once by a `ValueError`, in a graph when it runs; XLA leaves that check out.

    Returns what must run before the value is used, for `tf.control_dependencies`.
    """
    if not tf.executing_eagerly():
        return [tf.debugging.Assert(condition, [message, value], summarize=8)]
    if not condition:
        raise ValueError(f"{message} {value.numpy().tolist()}")
    return []


def is_whole(value: Any) -> bool:
    """Whether a value is of a type of whole numbers, Python's or NumPy's: 3 is, 3.0 is not."""
    return isinstance(value, numbers.Integral)
