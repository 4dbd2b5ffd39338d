"""Learning-rate schedules with warm-up, and optimizers that spare batch norm and biases from weight decay."""

import re
from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3, rows_of, tf_variable
from ddl_tf.common.replicas import global_sum
from ddl_tf.training.gradient_rules import RowAndShardGradients, gradient_values

# The second replica's copy of a weight is called "bn/gamma/replica_1:0"; in Keras 3 "gamma/replica_1:0".
NO_DECAY = r"(^|/)(gamma|beta|bias)(/replica_\d+)?(:0)?$"


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


def _rows(variable: tf.Variable, rows: tf.Tensor, after: tf.Tensor) -> tf.Tensor:
    """Gather rows of a variable once there is `after`; a graph would gather them early, and hold them all that time."""
    with tf.control_dependencies([after]):
        return rows_of(variable, tf.identity(rows))


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

    def update_step(self, gradient: Any, variable: tf.Variable, *learning_rate: tf.Tensor) -> None:
        """Update one weight, or the rows of it that the gradient has."""
        is_sparse = isinstance(gradient, tf.IndexedSlices)
        values = tf.convert_to_tensor(gradient_values(gradient))
        if self.l2 and not re.search(NO_DECAY, variable.name):
            decaying = _rows(variable, gradient.indices, after=values) if is_sparse else variable
            values += tf.cast(self.l2, variable.dtype) * decaying
        if not is_sparse:
            super().update_step(values, variable, *learning_rate)
            return
        rows = gradient.indices
        rate, factor = (tf.cast(number, variable.dtype) for number in (self.learning_rate, self.momentum))
        places = self._trainable_variables_indices if IS_KERAS_3 else self._index_dict
        momentum = tf_variable(self.momentums[places[self._var_key(variable)]])
        moved = factor * _rows(momentum, rows, after=values) - rate * values
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


if IS_KERAS_3:

    @tf.keras.utils.register_keras_serializable(package="ddl_tf")
    class LossScale(tf.keras.mixed_precision.LossScaleOptimizer):
        """The scale of half precision, which leaves a step out if any replica's gradient overflows.

        Keras's own looks at the first replica's alone, and lets what is not finite of the others into the weights.
        """

        def check_finite(self, grads: Any) -> tf.Tensor:
            """Return whether the gradients of all replicas are finite."""
            values = [gradient_values(gradient) for gradient in grads if gradient is not None]
            finite = tf.reduce_all([tf.reduce_all(tf.math.is_finite(value)) for value in values])
            return global_sum(tf.cast(~finite, tf.float32)) == 0


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
