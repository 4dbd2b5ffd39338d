"""Compact logits: three numbers for a row, which suffice for the softmax cross-entropy and the accuracy."""

import abc
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.class_labels import class_numbers
from ddl_tf.layers.margin import MarginHead, Targets

# Of a class that takes no part. Not infinite: a row without any class would have the gradient NaN.
NO_LOGIT = -1e30


def compact_logits(logits: tf.Tensor, targets: Targets) -> tf.Tensor:
    """Reduce logits to the target's, the log-sum-exp of all others, and the largest other.

    The softmax cross-entropy of the first two columns with the class 0 is that of all logits with the target, and so
    is its gradient. The third column serves the accuracy alone, and has no gradient.

    Args:
        logits: `[batch, classes]` float32.
        targets: which of them is the target's, and which rows have one.

    Returns:
        `[batch, 3]`. A row without a target has the first column `NO_LOGIT`.

    Example:
        >>> compact = compact_logits(tf.constant([[1.0, 2.0, 3.0]]), Targets(tf.constant([1])))
        >>> [round(x, 2) for x in compact.numpy()[0].tolist()]
        [2.0, 3.13, 3.0]
    """
    target = tf.where(targets.labelled, targets.take(logits), NO_LOGIT)
    others = targets.put(logits, tf.fill(tf.shape(target), NO_LOGIT))
    largest = tf.stop_gradient(tf.reduce_max(others, axis=1))
    return tf.stack([target, tf.reduce_logsumexp(others, axis=1), largest], axis=1)


def combine_compact(parts: tf.Tensor) -> tf.Tensor:
    """Combine the compact logits of disjoint sets of classes into those of all of them.

    Args:
        parts: `[sets, batch, 3]`; a row's target is in one set at most.

    Returns:
        `[batch, 3]`.
    """
    target, others, largest = tf.unstack(parts, num=3, axis=2)
    columns = (tf.reduce_max(target, 0), tf.reduce_logsumexp(others, 0), tf.reduce_max(largest, 0))
    return tf.stack(columns, axis=1)


class CompactHead(MarginHead):
    """The base of heads that take the margin of another, store a class as a row, and make compact logits.

    Args:
        head: the margin head whose margin, scale and number of classes are used; a copy without centers is kept.
    """

    _arguments: tuple[str, ...] = ()
    compact = True

    def __init__(self, head: MarginHead, **kwargs: Any) -> None:
        super().__init__(head.num_classes, head.scale, **kwargs)
        if head.compact:
            raise ValueError(f"{type(self).__name__} takes a plain margin head, got {type(head).__name__}")
        # A copy, which is this layer's alone.
        self.head = type(head).from_config(head.get_config())

    def build_statistics(self) -> None:
        """Make the running statistics of the head whose margin is used."""
        self.head.build_statistics()
        self.head.built = True

    def call(
        self, embeddings: tf.Tensor, labels: Optional[tf.Tensor] = None, training: Optional[bool] = None
    ) -> tf.Tensor:
        """Return compact logits `[batch, 3]`; without labels logits `[batch, num_classes]`, without margin."""
        if labels is None:
            return self.scale * self.cosines(embeddings)
        labels, out_of_range = class_numbers(labels, embeddings, self.num_classes)
        return self._compact_logits(embeddings, labels, training) + out_of_range[:, tf.newaxis]

    @abc.abstractmethod
    def _compact_logits(self, embeddings: tf.Tensor, labels: tf.Tensor, training: Optional[bool]) -> tf.Tensor:
        """The compact logits `[batch, 3]` of rows with int32 labels `[batch]`, -1 for none."""

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        """Return `[batch, 3]`, the shape of the logits that are made with labels."""
        return tf.TensorShape([input_shape[0], 3])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "head": tf.keras.utils.serialize_keras_object(self.head)}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "CompactHead":
        """Make the head, with the one inside of it."""
        return cls(**{**config, "head": tf.keras.utils.deserialize_keras_object(config["head"])})
