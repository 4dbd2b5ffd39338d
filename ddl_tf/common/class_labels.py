"""The labels that heads, losses and metrics take: class numbers, checked where they come in.

TensorFlow is silent of wrong ones: a cast makes 1 of 1.9 and 2^32 + 1; beyond the classes a GPU reads a row of zeros.
"""

from typing import Optional

import tensorflow as tf

from ddl_tf.common.checks import require
from ddl_tf.common.keras_version import whole_numbers


def flat_labels(labels: tf.Tensor) -> tf.Tensor:
    """Check the type and the shape of labels, int `[batch]` or `[batch, 1]`; returns `[batch]` int64."""
    labels = whole_numbers(labels)
    # A cast to int64 would wrap what only uint64 holds.
    if not labels.dtype.is_integer or labels.dtype == tf.uint64:
        raise ValueError(f"labels of {labels.dtype.name}: give class numbers as int32 or int64, and -1 for no label")
    shape = labels.shape
    if shape.rank is not None and (shape.rank not in (1, 2) or (shape.rank == 2 and shape[1] not in (1, None))):
        sizes = ["batch" if size is None else str(size) for size in shape]
        raise ValueError(f"labels [{', '.join(sizes)}]: give class numbers [{sizes[0] if sizes else 'batch'}]")
    return tf.reshape(tf.cast(labels, tf.int64), [-1])


def class_numbers(
    labels: tf.Tensor, per_row: tf.Tensor, num_classes: Optional[int] = None
) -> tuple[tf.Tensor, tf.Tensor]:
    """Check labels, int `[batch]` or `[batch, 1]` with -1 for none, of the rows `[batch, ...]`.

    Returns `[batch]` int32 labels, -1 for none and for those out of range; and `[batch]` float32, NaN for those out of
    range and else 0, to be added to what is computed of a row: XLA drops the check of the range, and the loss shows it.
    """
    labels = flat_labels(labels)
    if not labels.shape.is_compatible_with(per_row.shape[:1]):
        raise ValueError(f"{labels.shape[0]} labels with {per_row.shape[0]} rows: give one label for each row")
    end = tf.int32.max if num_classes is None else num_classes
    good = (labels >= -1) & (labels < end)
    which = "whole numbers from 0 on" if num_classes is None else f"class numbers 0..{num_classes - 1}"
    low, high = tf.reduce_min(labels), tf.reduce_max(labels)
    bad = tf.where(high < end, low, high)
    checks = require(tf.reduce_all(good), f"labels must be {which}, or -1 for none; got", bad)
    if labels.shape[0] is None or per_row.shape[0] is None:
        sizes = tf.stack([tf.size(labels), tf.shape(per_row)[0]])
        checks += require(sizes[0] == sizes[1], "give one label for each row; labels and rows:", sizes)
    with tf.control_dependencies(checks):
        return tf.cast(tf.where(good, labels, -1), tf.int32), tf.where(good, 0.0, float("nan"))
