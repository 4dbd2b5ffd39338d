"""What optimizers do with gradients before Keras's rule: rates of their own, a pull, rows, shards, clipping."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.common.replicas import global_sum
from ddl_tf.layers.sharded import copies_of, is_shard


def gradient_values(gradient: Any) -> tf.Tensor:
    """Return a gradient, or of some rows alone theirs."""
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _plus(gradient: Any, number: tf.Tensor) -> Any:
    values = gradient_values(gradient) + number
    is_sparse = isinstance(gradient, tf.IndexedSlices)
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape) if is_sparse else values


def _with_each_row_once(gradient: Any) -> Any:
    if not isinstance(gradient, tf.IndexedSlices):
        return gradient
    rows, places = tf.unique(gradient.indices)
    values = tf.math.unsorted_segment_sum(gradient.values, places, tf.size(rows))
    return tf.IndexedSlices(values, rows, gradient.dense_shape)


class WeightRules(tf.keras.optimizers.Optimizer):
    """Weights that learn more slowly than others, or are pulled to where they started; a base beside a Keras optimizer.

    Both are for fine-tuning, and are named once the optimizer knows the weights.

    References:
        Li et al., "Explicit Inductive Bias for Transfer Learning with Convolutional Networks", ICML 2018,
        https://arxiv.org/abs/1802.01483 (L2-SP: the pull)
    """

    # Of the weight that is being updated.
    _factor = 1.0

    def slow_down(self, variables: Sequence[tf.Variable], factor: float) -> None:
        """Multiply the learning rate of weights, and with it a decoupled weight decay, by a factor of 0 or more."""
        self._factors = {self._var_key(variable): factor for variable in variables}

    def pull(self, variables: Sequence[tf.Variable], strength: float) -> None:
        """Add strength * (weight - its value now) to the gradient of weights; `restart_pull` takes other values."""
        self._pulled, self._pull_strength = list(variables), strength
        # Among what the optimizer keeps, so that a resumed run pulls to where the first one started.
        self._starts = [tf.Variable(variable, trainable=False, name="start") for variable in variables]
        self._start_of = {self._var_key(variable): place for place, variable in enumerate(variables)}

    def restart_pull(self) -> None:
        """Pull to where the weights are now."""
        for start, variable in zip(getattr(self, "_starts", []), getattr(self, "_pulled", [])):
            start.assign(variable)

    @property
    def learning_rate(self) -> Any:
        """That of the weight which is being updated; the optimizer's own otherwise."""
        rate = super().learning_rate
        return rate if self._factor == 1 else rate * self._factor

    @learning_rate.setter
    def learning_rate(self, rate: Any) -> None:
        tf.keras.optimizers.Optimizer.learning_rate.fset(self, rate)

    def _factor_of(self, variable: tf.Variable) -> float:
        return getattr(self, "_factors", {}).get(self._var_key(variable), 1.0)

    def update_step(self, gradient: Any, variable: tf.Variable, *learning_rate: tf.Tensor) -> None:
        """Update one weight; Keras 3 gives the learning rate, Keras 2 has it asked for."""
        place = getattr(self, "_start_of", {}).get(self._var_key(variable))
        if place is not None:
            away = tf.convert_to_tensor(variable) - tf.convert_to_tensor(self._starts[place])
            gradient += tf.cast(self._pull_strength, variable.dtype) * away
        self._factor = self._factor_of(variable)
        try:
            super().update_step(gradient, variable, *(rate * self._factor for rate in learning_rate))
        finally:
            self._factor = 1.0

    def _apply_weight_decay(self, variables: Any) -> None:
        try:
            for self._factor in sorted({self._factor_of(variable) for variable in variables}):
                super()._apply_weight_decay([v for v in variables if self._factor_of(v) == self._factor])
        finally:
            self._factor = 1.0


class RowAndShardGradients(WeightRules):
    """What optimizers do to gradients before they apply them; a base beside a Keras optimizer.

    The gradient of a shard is that of the global batch already, and stays on its replica; all others are summed over
    the replicas. Where a gradient has some rows only (`tf.IndexedSlices`), rows that come from several replicas are
    added up. `global_clipnorm` is of the norm over all weights and all shards, the same on all replicas; `clipnorm`, a
    norm for each weight, raises ValueError with shards. A value that is not finite in one replica's shard makes all
    shards not finite, so that a loss scale skips the step on all of them alike.
    """

    # The positions of shards among the gradients that are being applied.
    _shard_positions: frozenset[int] = frozenset()

    def build(self, variables: Any) -> None:
        """Make what is kept of each weight; of a shard, every replica has memory of its own from the beginning."""
        was_built = getattr(self, "built" if IS_KERAS_3 else "_built", False)
        super().build(variables)
        if was_built:
            return
        # The copies begin as one tensor. Replicas that update it at a time would each copy it first.
        with tf.init_scope():
            for kept in self.variables:
                for copy in copies_of(kept)[1:] if is_shard(kept) else ():
                    copy.assign(copy + 0)

    def aggregate_gradients(self, grads_and_vars: Any) -> list[tuple[Any, tf.Variable]]:
        """Sum the gradients of all replicas, but for shards."""
        of_replicas = super()._all_reduce_sum_gradients if IS_KERAS_3 else super().aggregate_gradients
        pairs = list(grads_and_vars)
        summed = iter(of_replicas([pair for pair in pairs if not is_shard(pair[1])]))
        pairs = [pair if is_shard(pair[1]) else next(summed) for pair in pairs]
        shards = [
            gradient_values(gradient) for gradient, variable in pairs if gradient is not None and is_shard(variable)
        ]
        if shards:
            # 0, or not a number. (As 0 * the sum, TensorFlow's optimizer of graphs would take it for 0 in any case.)
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(values)) for values in shards])
            broken = global_sum(tf.where(finite, 0.0, np.nan))
            pairs = [(_plus(g, tf.cast(broken, g.dtype)) if g is not None and is_shard(v) else g, v) for g, v in pairs]
        # Keras 2 does so too, but after it has clipped, when the norm of a row that comes twice is not that of its sum.
        if IS_KERAS_3 or any((self.clipnorm, self.global_clipnorm, self.clipvalue)):
            pairs = [(_with_each_row_once(gradient), variable) for gradient, variable in pairs]
        return pairs

    def apply(self, grads: Any, trainable_variables: Any = None) -> None:
        """Apply gradients as Keras 3 does, but clip what the replicas have together, not what each of them has."""
        variables = list(self._trainable_variables if trainable_variables is None else trainable_variables)
        if not self.built:
            self.build(variables)
        pairs = self.aggregate_gradients(zip(grads, variables))
        self._note_shards(pairs)
        super().apply([gradient for gradient, _ in pairs], variables)

    def _all_reduce_sum_gradients(self, grads_and_vars: Any) -> Any:
        # Keras 3 comes here when it has clipped; `apply` has summed.
        return grads_and_vars

    def apply_gradients(self, grads_and_vars: Any, *args: Any, **kwargs: Any) -> Any:
        """Apply gradients as Keras does."""
        pairs = list(grads_and_vars)
        self._note_shards(pairs)
        return super().apply_gradients(pairs, *args, **kwargs)

    def _note_shards(self, pairs: Sequence[tuple[Any, tf.Variable]]) -> None:
        kept = [variable for gradient, variable in pairs if gradient is not None]
        self._shard_positions = frozenset(k for k, variable in enumerate(kept) if is_shard(variable))
        if self._shard_positions and self.clipnorm:
            raise ValueError(f"clipnorm={self.clipnorm} cannot clip the shards of a sharded head: use global_clipnorm")

    def _clip_gradients(self, grads: Any) -> Any:
        # Keras 3's own rule knows no gradients of some rows.
        if not (self.global_clipnorm and (IS_KERAS_3 or self._shard_positions)):
            return super()._clip_gradients(grads)
        squares = [tf.reduce_sum(gradient_values(gradient) ** 2) for gradient in grads]
        of_shards = tf.add_n([0.0, *(squares[k] for k in self._shard_positions)])
        of_others = tf.add_n([0.0, *(square for k, square in enumerate(squares) if k not in self._shard_positions)])
        norm = tf.sqrt(of_others + global_sum(of_shards))
        return tf.clip_by_global_norm(grads, self.global_clipnorm, use_norm=norm)[0]
