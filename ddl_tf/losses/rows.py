"""The rows of a batch, `[batch, 2]`, identity and group: checked where they come in."""

import tensorflow as tf

from ddl_tf.common.checks import require

# The most groups. They are a teacher and a few students; the loss's memory grows with their number (histograms) and
# with its square (the order term), and at this one it is some 20 MB.
MAX_GROUPS = 1024


def checked_rows(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Check that rows and embeddings belong together.

    Args:
        y_true: int `[batch, 2]`: identity and group of each row.
        y_pred: float `[batch, dim]`: embeddings.

    Returns:
        `[batch, 2]` int64 and `[batch, dim]` float32.

    Raises:
        ValueError: for another type, shape or number of rows.
        tf.errors.InvalidArgumentError: for another number of rows, where the graph alone knows it.
    """
    rows, embeddings = tf.convert_to_tensor(y_true), tf.convert_to_tensor(y_pred)
    if not rows.dtype.is_integer or rows.dtype == tf.uint64:
        raise ValueError(f"rows of {rows.dtype.name}: give identity and group as int32 or int64")
    if not rows.shape.is_compatible_with([None, 2]):
        raise ValueError(f"rows {rows.shape}: give [batch, 2], identity and group of each row")
    if not embeddings.shape.is_compatible_with([None, None]):
        raise ValueError(f"embeddings {embeddings.shape}: give [batch, dim]")
    if not rows.shape[:1].is_compatible_with(embeddings.shape[:1]):
        raise ValueError(
            f"{rows.shape[0]} rows with {embeddings.shape[0]} embeddings: give identity and group of each embedding"
        )
    rows, embeddings = tf.cast(rows, tf.int64), tf.cast(embeddings, tf.float32)
    if not (rows.shape.is_fully_defined() and embeddings.shape[:1].is_fully_defined()):
        rows = tf.ensure_shape(rows, [None, 2])
        sizes = tf.stack([tf.shape(rows)[0], tf.shape(embeddings)[0]])
        message = "give identity and group of each embedding; rows and embeddings:"
        with tf.control_dependencies(require(sizes[0] == sizes[1], message, sizes)):
            # XLA drops the check, but then the reshape fails.
            rows = tf.reshape(rows, [sizes[1], 2])
    return rows, embeddings


def bounded_groups(group: tf.Tensor) -> tf.Tensor:
    """Refuse groups `[rows]` from `MAX_GROUPS` on, before memory is taken for them; int32, negative ones as -1."""
    group = tf.cast(group, tf.int64)
    largest = tf.reduce_max(tf.concat([group, [0]], 0))
    message = f"groups are 0 for the teacher and 1, 2, ... for students, at most {MAX_GROUPS - 1}; the largest is"
    with tf.control_dependencies(require(largest < MAX_GROUPS, message, largest)):
        return tf.cast(tf.clip_by_value(group, -1, MAX_GROUPS - 1), tf.int32)
