"""Learning-rate schedules with warm-up, and optimizers that spare batch norm and biases from weight decay."""

import re
from collections.abc import Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.replicas import global_sum
from ddl_tf.layers.sharded import is_shard

# The second replica's copy of a weight is called "bn/gamma/replica_1:0".
NO_DECAY = r"/(gamma|beta|bias)(/replica_\d+)?(:0)?$"


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class WarmUp(tf.keras.optimizers.schedules.LearningRateSchedule):
    """Let the learning rate rise linearly from 0 before another schedule begins.

    Args:
        after: the schedule from step `warmup_steps` on; its own steps count from there.
        warmup_steps: how many steps the rise takes.

    Example:
        >>> constant = tf.keras.optimizers.schedules.PiecewiseConstantDecay([1], [1.0, 1.0])
        >>> float(WarmUp(constant, 10)(4))
        0.5
    """

    def __init__(self, after: tf.keras.optimizers.schedules.LearningRateSchedule, warmup_steps: int) -> None:
        super().__init__()
        self.after, self.warmup_steps = after, warmup_steps

    def __call__(self, step: tf.Tensor) -> tf.Tensor:
        """Compute the learning rate of a step."""
        step = tf.cast(step, tf.float32)
        rising = self.after(0.0) * (step + 1.0) / max(self.warmup_steps, 1)
        return tf.where(step < self.warmup_steps, rising, self.after(tf.maximum(step - self.warmup_steps, 0.0)))

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {"after": tf.keras.optimizers.schedules.serialize(self.after), "warmup_steps": self.warmup_steps}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> "WarmUp":
        """Make the schedule again."""
        return cls(tf.keras.optimizers.schedules.deserialize(config["after"]), config["warmup_steps"])


def build_schedule(
    name: str,
    learning_rate: float,
    total_steps: int,
    warmup_steps: int = 0,
    end_learning_rate: float = 0.0,
    power: float = 2.0,
    decay_steps: Sequence[int] = (),
    decay_factor: float = 0.1,
) -> WarmUp:
    """Make a learning-rate schedule.

    Args:
        name: "constant", "cosine", "step" or "polynomial".
        learning_rate: at the end of the warm-up.
        total_steps: of the whole run, the warm-up included.
        warmup_steps: the rate rises from 0 over these.
        end_learning_rate: where "cosine" and "polynomial" end.
        power: of "polynomial".
        decay_steps: of "step": after each of these (counted from the start of the run) the rate falls.
        decay_factor: of "step".

    Raises:
        ValueError: for an unknown name.
    """
    schedules = tf.keras.optimizers.schedules
    steps = max(total_steps - warmup_steps, 1)
    after: Any
    if name == "constant":
        after = schedules.PiecewiseConstantDecay([steps], [learning_rate, learning_rate])
    elif name == "cosine":
        after = schedules.CosineDecay(learning_rate, steps, alpha=end_learning_rate / learning_rate)
    elif name == "polynomial":
        after = schedules.PolynomialDecay(learning_rate, steps, end_learning_rate, power)
    elif name == "step":
        # Keras changes the rate after its boundary, so that the last step at the old rate is the one before.
        boundaries = [float(step - warmup_steps - 1) for step in sorted(decay_steps)]
        rates = [learning_rate * decay_factor**k for k in range(len(boundaries) + 1)]
        after = schedules.PiecewiseConstantDecay(boundaries, rates)
    else:
        raise ValueError(f"schedule must be constant, cosine, step or polynomial, got {name!r}")
    return WarmUp(after, warmup_steps)


def _values(gradient: Any) -> tf.Tensor:
    return gradient.values if isinstance(gradient, tf.IndexedSlices) else gradient


def _plus(gradient: Any, number: tf.Tensor) -> Any:
    values = _values(gradient) + number
    is_sparse = isinstance(gradient, tf.IndexedSlices)
    return tf.IndexedSlices(values, gradient.indices, gradient.dense_shape) if is_sparse else values


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

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Update one weight."""
        place = getattr(self, "_start_of", {}).get(self._var_key(variable))
        if place is not None:
            away = tf.convert_to_tensor(variable) - tf.convert_to_tensor(self._starts[place])
            gradient += tf.cast(self._pull_strength, variable.dtype) * away
        self._factor = self._factor_of(variable)
        try:
            super().update_step(gradient, variable)
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

    def aggregate_gradients(self, grads_and_vars: Any) -> list[tuple[Any, tf.Variable]]:
        """Sum the gradients of all replicas, but for shards."""
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
        """Apply gradients as Keras does."""
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


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class L2SGD(RowAndShardGradients, tf.keras.optimizers.SGD):
    """SGD with the weight decay in the gradient, where momentum accumulates it, as PyTorch and MXNet do.

    Keras' own `weight_decay` of SGD is decoupled: with momentum 0.9 it decays ten times less at the same number.
    The published weight decays of face recognition (5e-4) mean the one here. Batch norm and biases are spared.
    Of a weight whose gradient has some rows only (that of a sampled head), these alone move, decay, and change their
    momentum; Keras would rewrite all of it in every step.

    Args:
        learning_rate: a number or a schedule.
        momentum: as in Keras.
        l2: the weight decay.
        **kwargs: as in `tf.keras.optimizers.SGD`.

    Example:
        >>> optimizer = L2SGD(0.1, momentum=0.9, l2=5e-4)
    """

    def __init__(self, learning_rate: Any = 0.01, momentum: float = 0.0, l2: float = 0.0, **kwargs: Any) -> None:
        super().__init__(learning_rate=learning_rate, momentum=momentum, **kwargs)
        self.l2 = l2

    def update_step(self, gradient: Any, variable: tf.Variable) -> None:
        """Update one weight, or the rows of it that the gradient has."""
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        values = tf.convert_to_tensor(_values(gradient))
        if self.l2 and not re.search(NO_DECAY, variable.name):
            decaying = tf.gather(variable, gradient.indices) if is_sparse else variable
            values += tf.cast(self.l2, variable.dtype) * decaying
        if not is_sparse:
            super().update_step(values, variable)
            return
        rows = gradient.indices
        rate, factor = (tf.cast(number, variable.dtype) for number in (self.learning_rate, self.momentum))
        momentum = self.momentums[self._index_dict[self._var_key(variable)]]
        moved = factor * tf.gather(momentum, rows) - rate * values
        momentum.scatter_update(tf.IndexedSlices(moved, rows))
        variable.scatter_add(tf.IndexedSlices(factor * moved - rate * values if self.nesterov else moved, rows))

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments."""
        return {**super().get_config(), "l2": self.l2}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class AdamW(RowAndShardGradients, tf.keras.optimizers.AdamW):
    """Keras' AdamW, for the weights of a sharded head too; `**kwargs` as in `tf.keras.optimizers.AdamW`.

    Example:
        >>> optimizer = AdamW(learning_rate=0.001, weight_decay=0.05)
    """


def base_optimizer(model: tf.keras.Model) -> tf.keras.optimizers.Optimizer:
    """The optimizer of a compiled model, without the one that scales its loss."""
    return getattr(model.optimizer, "inner_optimizer", model.optimizer)


def build_optimizer(
    name: str,
    learning_rate: Any,
    momentum: float = 0.9,
    weight_decay: float = 5e-4,
    clip_norm: Optional[float] = None,
) -> tf.keras.optimizers.Optimizer:
    """Make an optimizer whose weight decay leaves batch norm and biases alone.

    Args:
        name: "sgd" (decay in the gradient) or "adamw" (decoupled decay).
        learning_rate: a number or a schedule.
        momentum: of "sgd".
        weight_decay: its strength.
        clip_norm: the largest norm of the gradient of all weights together; None: not clipped.

    Raises:
        ValueError: for an unknown name.
    """
    if name == "sgd":
        return L2SGD(learning_rate, momentum=momentum, l2=weight_decay, global_clipnorm=clip_norm)
    if name == "adamw":
        optimizer = AdamW(learning_rate, weight_decay=weight_decay, global_clipnorm=clip_norm)
        optimizer.exclude_from_weight_decay(var_names=[NO_DECAY])
        return optimizer
    raise ValueError(f"optimizer must be sgd or adamw, got {name!r}")
