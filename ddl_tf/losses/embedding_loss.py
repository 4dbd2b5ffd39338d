"""The base of the losses on the embedding output, and the rows `[batch, 2]`, identity and group, that they take."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.checks import require
from ddl_tf.common.keras_version import IS_KERAS_3, refuse_call_by_other, share_of_replica, whole_numbers
from ddl_tf.common.replicas import gather_rows

# The most groups. They are a teacher and a few students; the loss's memory grows with their number (histograms) and
# with its square (the order term), and at this one it is some 20 MB.
MAX_GROUPS = 1024


def checked_rows(y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Return rows as int64 and embeddings as float32 if they fit, else ValueError; in a graph InvalidArgumentError."""
    rows, embeddings = whole_numbers(y_true), tf.convert_to_tensor(y_pred)
    if not rows.dtype.is_integer or rows.dtype == tf.uint64:
        raise ValueError(f"identity and group of the rows must be int32 or int64, got {rows.dtype.name}")
    if not rows.shape.is_compatible_with([None, 2]):
        raise ValueError(f"rows must be of shape [batch, 2], identity and group of each, got {rows.shape}")
    if not embeddings.shape.is_compatible_with([None, None]):
        raise ValueError(f"embeddings must be of shape [batch, dim], got {embeddings.shape}")
    if not rows.shape[:1].is_compatible_with(embeddings.shape[:1]):
        raise ValueError(f"each embedding must have identity and group, got {rows.shape[0]} for {embeddings.shape[0]}")
    rows, embeddings = tf.cast(rows, tf.int64), tf.cast(embeddings, tf.float32)
    if not (rows.shape.is_fully_defined() and embeddings.shape[:1].is_fully_defined()):
        rows = tf.ensure_shape(rows, [None, 2])
        sizes = tf.stack([tf.shape(rows)[0], tf.shape(embeddings)[0]])
        message = "each embedding must have identity and group; numbers of rows and of embeddings:"
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


class EmbeddingLoss(tf.keras.losses.Loss):
    """The base of losses that give one number for the embeddings of a whole batch; subclasses define `call`.

    `y_true` is int `[batch, 2]`, identity and group of each row; `y_pred` is float `[batch, dim]`, embeddings of any
    length. Rows that are not whole numbers, of another shape or another number are refused (ValueError).

    Args:
        gather: whether replicas pool their rows before the loss is computed.

    Raises:
        ValueError: if an argument, of this class or a subclass, is out of its range.
    """

    # The constructor's arguments, which stand in attributes of these names: the configuration.
    _arguments: tuple[str, ...] = ("gather",)

    def __init__(self, gather: bool = True, name: Optional[str] = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.gather = gather

    def __call__(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Optional[tf.Tensor] = None) -> tf.Tensor:
        """Return the loss, `[]` float32; a `sample_weight` is refused (ValueError)."""
        refuse_call_by_other(type(self).__name__)
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample_weight: there is no loss per row; leave rows out of the batch, "
                'or out of the distillation by the group -1; weights of the labels alone are {"logits": weights}'
            )
        if not IS_KERAS_3:
            return super().__call__(y_true, y_pred)
        # Keras 3 would round identities to float32, and give each replica the whole of a loss that is one number.
        with tf.name_scope(self.name):
            return share_of_replica(self.call(y_true, y_pred), self.reduction)

    def global_batch(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        """Return embeddings `[rows, dim]`, identities and groups `[rows]` int64, of all replicas if `gather` is set."""
        rows, embeddings = checked_rows(y_true, y_pred)
        if self.gather:
            rows, embeddings = gather_rows(rows, embeddings)
        return embeddings, rows[:, 0], rows[:, 1]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in self._arguments}}
