"""Gradient checkpointing: a backbone that forgets what is inside of its blocks, and computes it again when needed."""

from collections.abc import Callable
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.models.replay import keep_statistics, random_layers


def _blocks(model: tf.keras.Model) -> list[tf.keras.Model]:
    """The parts between the sums that end residual blocks."""
    why = f"{model.name} cannot be recomputed, because"
    if random_layers(model):
        raise InputError(
            f"{why} {random_layers(model)[0].name} draws other random numbers the second time: use a backbone without "
            "dropout, or no recompute"
        )
    ends = [layer.output for layer in model.layers if isinstance(layer, tf.keras.layers.Add)]
    if not ends:
        raise InputError(f"{why} it has no residual blocks: use no recompute")
    bounds = [model.input, *ends, *([] if ends[-1] is model.output else [model.output])]
    try:
        return [tf.keras.Model(start, end) for start, end in zip(bounds, bounds[1:])]
    except ValueError:
        raise InputError(f"{why} it is no chain of residual blocks: use no recompute") from None


def _recomputed(block: tf.keras.Model) -> Callable[[tf.Tensor], tf.Tensor]:
    """The block in training, whose inside is not kept for the gradient."""
    first = True

    def run(x: tf.Tensor) -> tf.Tensor:
        nonlocal first
        if first:
            first = False
            return block(x, training=True)
        # The second time is for the gradient alone: batch norm's moving statistics have seen these rows.
        with keep_statistics(block):
            return block(x, training=True)

    return tf.recompute_grad(run)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class RecomputedModel(tf.keras.Model):
    """A functional backbone that keeps only what goes from block to block for the gradient.

    In training each residual block runs a second time when its gradient is due; what is computed and what is learnt
    stay the same, batch norm's moving statistics included. It has the layers and weights of the model it is made of.

    Raises:
        InputError: if the model is no chain of residual blocks, or one draws random numbers.

    Example:
        >>> from ddl_tf.models import build_backbone
        >>> backbone = build_backbone("plain_small", (32, 32, 3))
        >>> RecomputedModel(backbone.input, backbone.output, name="backbone").output_shape
        (None, 2, 2, 192)

    References:
        Chen et al., "Training Deep Nets with Sublinear Memory Cost", https://arxiv.org/abs/1604.06174
    """

    # Keras saves the layers of functional models only, which it knows by these arguments.
    if IS_KERAS_3:

        def __init__(self, inputs: Any, outputs: Any, name: Optional[str] = None, **kwargs: Any) -> None:
            super().__init__(inputs, outputs, name=name, **kwargs)
            self._cut()

    else:

        def __init__(  # type: ignore[misc]
            self, inputs: Any, outputs: Any, name: Optional[str] = None, trainable: bool = True, **kwargs: Any
        ) -> None:
            super().__init__(inputs, outputs, name=name, trainable=trainable, **kwargs)
            self._cut()

    def _cut(self) -> None:
        blocks = _blocks(self)
        # A list of models would be among the layers of this one.
        self._blocks = lambda: blocks

    def call(self, inputs: tf.Tensor, training: Optional[bool] = None, mask: Optional[tf.Tensor] = None) -> tf.Tensor:
        """Run the network; only in training something is computed again."""
        if not training:
            return super().call(inputs, training=training, mask=mask)
        for block in self._blocks():
            inputs = _recomputed(block)(inputs)
        return inputs
