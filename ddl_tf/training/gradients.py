"""Gradients that an optimizer must not sum over replicas as usual: those of some rows, and those of shards."""

from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.common.replicas import global_sum
from ddl_tf.layers.sharded import is_shard


def _values(gradient: Any) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _plus(gradient: Any, number: tf.Tensor) -> Any:
    if isinstance(gradient, tf.IndexedSlices):
        return tf.IndexedSlices(gradient.values + number, gradient.indices, gradient.dense_shape)
    return gradient + number


class RowAndShardGradients(tf.keras.optimizers.Optimizer):
    """What optimizers do to gradients before they apply them; a base beside a Keras optimizer.

    The gradient of a shard is that of the global batch already, and stays on its replica; all others are summed over
    the replicas. Where a gradient has some rows only (`tf.IndexedSlices`), rows that come from several replicas are
    added up. `global_clipnorm` is of the norm over all weights and all shards, the same on all replicas.
    """

    # The positions of shards among the gradients that are being applied.
    _shard_positions: frozenset[int] = frozenset()

    def aggregate_gradients(self, grads_and_vars: Any) -> list[tuple[Any, tf.Variable]]:
        """Sum the gradients of all replicas, but for shards.

        Args:
            grads_and_vars: pairs of a gradient and its weight.

        Returns:
            The same pairs, summed. A value that is not finite in one replica's shard makes all shards not finite, so
            that a loss scale skips the step on all of them alike.
        """
        pairs = list(grads_and_vars)
        summed = iter(super().aggregate_gradients([pair for pair in pairs if not is_shard(pair[1])]))
        pairs = [pair if is_shard(pair[1]) else next(summed) for pair in pairs]
        shards = [_values(gradient) for gradient, variable in pairs if gradient is not None and is_shard(variable)]
        if shards:
            # 0, or not a number. (As 0 * the sum, TensorFlow's optimizer of graphs would take it for 0 in any case.)
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(values)) for values in shards])
            broken = global_sum(tf.where(finite, 0.0, np.nan))
            pairs = [(_plus(g, tf.cast(broken, g.dtype)) if g is not None and is_shard(v) else g, v) for g, v in pairs]
        # Keras does so too, but after it has clipped, when the norm of a row that comes twice is not that of its sum.
        gradients = self._deduplicate_sparse_grad([gradient for gradient, _ in pairs])
        return [(gradient, variable) for gradient, (_, variable) in zip(gradients, pairs)]

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply gradients as Keras does.

        Args:
            grads_and_vars: pairs of a gradient and its weight.
            *args: as in Keras.
            **kwargs: as in Keras.

        Returns:
            As Keras.

        Raises:
            ValueError: if `clipnorm`, a norm for each weight, shall clip shards.
        """
        pairs = list(grads_and_vars)
        kept = [variable for gradient, variable in pairs if gradient is not None]
        self._shard_positions = frozenset(k for k, variable in enumerate(kept) if is_shard(variable))
        if self._shard_positions and self.clipnorm:
            raise ValueError(f"clipnorm={self.clipnorm} cannot clip the shards of a sharded head: use global_clipnorm")
        return super().apply_gradients(pairs, *args, **kwargs)

    def _clip_gradients(self, grads: Any) -> Any:
        if not (self._shard_positions and self.global_clipnorm):
            return super()._clip_gradients(grads)
        squares = [tf.reduce_sum(_values(gradient) ** 2) for gradient in grads]
        of_shards = tf.add_n([squares[k] for k in self._shard_positions])
        of_others = tf.add_n([0.0, *(square for k, square in enumerate(squares) if k not in self._shard_positions)])
        norm = tf.sqrt(of_others + global_sum(of_shards))
        return tf.clip_by_global_norm(grads, self.global_clipnorm, use_norm=norm)[0]
