"""The targets of a batch: which class each row has, and which rows have none."""

import tensorflow as tf

from ddl_tf.common.class_labels import flat_labels
from ddl_tf.common.replicas import global_sum


class Targets:
    """Read and change one column of each row, and count over the rows that have a target.

    Args:
        labels: int `[batch]` or `[batch, 1]`; -1 for no target. Heads have checked their range.

    Raises:
        ValueError: for labels of another type or shape.

    Attributes:
        labelled: bool `[batch]`, whether the row has a target.
        classes: int32 `[batch]`, the target; 0 in rows without one.

    Example:
        >>> targets = Targets(tf.constant([1, -1]))
        >>> targets.put(tf.zeros([2, 3]), targets.take(tf.ones([2, 3]))).numpy().tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, labels: tf.Tensor) -> None:
        labels = tf.cast(flat_labels(labels), tf.int32)
        self.labelled = labels >= 0
        self.classes = tf.maximum(labels, 0)
        self._places = tf.stack([tf.range(tf.shape(labels)[0]), self.classes], axis=1)

    def take(self, matrix: tf.Tensor) -> tf.Tensor:
        """Read the target's value.

        Args:
            matrix: `[batch, num_classes]`.

        Returns:
            `[batch]`; that of class 0 in rows without a target.
        """
        return tf.gather_nd(matrix, self._places)

    def put(self, matrix: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Change the target's value.

        Args:
            matrix: `[batch, num_classes]`.
            values: `[batch]`; what stands in rows without a target does not count.

        Returns:
            `[batch, num_classes]`; rows without a target are as they were.
        """
        values = tf.where(self.labelled, values, self.take(matrix))
        return tf.tensor_scatter_nd_update(matrix, self._places, values)

    def count(self) -> tf.Tensor:
        """Count the rows of the global batch that have a target.

        Returns:
            `[]` float32.
        """
        return global_sum(tf.reduce_sum(tf.cast(self.labelled, tf.float32)))

    def total(self, values: tf.Tensor) -> tf.Tensor:
        """Sum over the rows of the global batch that have a target, without a gradient.

        Args:
            values: `[batch]` float32.

        Returns:
            `[]` float32.
        """
        return global_sum(tf.stop_gradient(tf.reduce_sum(tf.where(self.labelled, values, 0.0))))
