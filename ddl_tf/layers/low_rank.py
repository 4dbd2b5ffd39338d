"""LoRA: layers whose kernel is frozen, plus a product of two small matrices that trains."""

import math
from typing import Any

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.common.keras_version import IS_KERAS_3, OfThisKeras


class LowRankLayer(OfThisKeras, tf.keras.layers.Layer):
    """What the layers of a low-rank change share; a base beside the Keras layer that is changed.

    The kernel of `[inputs, outputs]` (all dimensions over which the layer sums, and all others) is
    W + (alpha / low_rank) A B, with W as it was, A of `[inputs, low_rank]` random and B of `[low_rank, outputs]` zero
    at the start: at first the layer computes what it computed. Only A and B train.

    Args:
        low_rank: rank of the product, at least 1 (ValueError).
        alpha: strength of the product, above 0 (ValueError).

    References:
        Hu et al., "LoRA: Low-Rank Adaptation of Large Language Models", ICLR 2022, https://arxiv.org/abs/2106.09685
    """

    def __init__(self, *args: Any, low_rank: int = 8, alpha: float = 8.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not is_whole(low_rank) or low_rank < 1:
            raise ValueError(f"low_rank must be a whole number, at least 1, got {low_rank!r}")
        if not 0 < alpha < math.inf:
            raise ValueError(f"alpha must be above 0 and finite, got {alpha!r}")
        self.low_rank, self.alpha = int(low_rank), float(alpha)

    @property
    def kernel(self) -> tf.Tensor:
        """The kernel with the product added."""
        product = tf.matmul(self.low_rank_a, self.low_rank_b) * (self.alpha / self.low_rank)
        return self.frozen_kernel + tf.reshape(tf.cast(product, self.frozen_kernel.dtype), self.frozen_kernel.shape)

    @kernel.setter
    def kernel(self, kernel: tf.Variable) -> None:
        # Keras 3 sets it itself, by this name.
        self._kernel = kernel

    @property
    def frozen_kernel(self) -> tf.Variable:
        """The kernel as it was."""
        return self._kernel

    def _num_input_axes(self) -> int:
        """The kernel's leading axes over which the layer sums."""
        return len(self.frozen_kernel.shape) - 1

    def build(self, input_shape: Any) -> None:
        """Make the kernel, and the two matrices."""
        super().build(input_shape)
        # Keras notes it when it builds a layer itself, for `get_build_config`.
        self._build_input_shape = input_shape
        shape, axes = self.frozen_kernel.shape, self._num_input_axes()
        inputs, outputs = math.prod(shape[:axes]), math.prod(shape[axes:])
        normal = tf.keras.initializers.RandomNormal(stddev=1 / math.sqrt(inputs))
        self.low_rank_a = self.add_weight(name="low_rank_a", shape=(inputs, self.low_rank), initializer=normal)
        self.low_rank_b = self.add_weight(name="low_rank_b", shape=(self.low_rank, outputs), initializer="zeros")
        if IS_KERAS_3:
            self._freeze()

    if IS_KERAS_3:
        # It asks the variables whether they train.

        def _freeze(self) -> None:
            for weight in self.weights:
                if weight is not self.low_rank_a and weight is not self.low_rank_b:
                    weight.trainable = False

        @property
        def trainable(self) -> bool:
            """Whether the two matrices train."""
            return super().trainable

        @trainable.setter
        def trainable(self, value: bool) -> None:
            tf.keras.layers.Layer.trainable.fset(self, value)
            if self.built:
                self._freeze()

        def save_own_variables(self, store: Any) -> None:
            """Write the kernel and the two matrices; Keras's own would write one kernel."""
            tf.keras.layers.Layer.save_own_variables(self, store)

        def load_own_variables(self, store: Any) -> None:
            """Read what `save_own_variables` wrote."""
            tf.keras.layers.Layer.load_own_variables(self, store)

    else:

        @property
        def trainable_weights(self) -> list[tf.Variable]:
            """The two matrices."""
            return [self.low_rank_a, self.low_rank_b] if self.built and self.trainable else []

        @property
        def non_trainable_weights(self) -> list[tf.Variable]:
            """All others."""
            trainable = {id(weight) for weight in self.trainable_weights}
            weights = [*self._trainable_weights, *self._non_trainable_weights]
            return [weight for weight in weights if id(weight) not in trainable]

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "low_rank": self.low_rank, "alpha": self.alpha}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class LowRankDense(LowRankLayer, tf.keras.layers.Dense):
    """A dense layer of which a low-rank change trains; `*args` and the rest of `**kwargs` as of Keras's `Dense`.

    Example:
        >>> LowRankDense(4, low_rank=2)(tf.ones([1, 3])).shape
        TensorShape([1, 4])
    """


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class LowRankConv2D(LowRankLayer, tf.keras.layers.Conv2D):
    """A convolution of which a low-rank change trains; `*args` and the rest of `**kwargs` as of Keras's `Conv2D`.

    Example:
        >>> LowRankConv2D(4, 1, low_rank=2)(tf.ones([1, 5, 5, 3])).shape
        TensorShape([1, 5, 5, 4])
    """


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class LowRankEinsumDense(LowRankLayer, tf.keras.layers.EinsumDense):
    """An einsum layer of which a low-rank change trains; `*args` and the rest of `**kwargs` as of `EinsumDense`.

    The kernel's summed axes must be its first ones (ValueError), as those of Keras's attention layers are.

    Example:
        >>> LowRankEinsumDense("ab,bc->ac", 4, low_rank=2)(tf.ones([1, 3])).shape
        TensorShape([1, 4])
    """

    def _num_input_axes(self) -> int:
        operands, output = self.equation.split("->")
        letters = operands.split(",")[1]
        summed = [letter not in output for letter in letters]
        if summed != sorted(summed, reverse=True) or not any(summed):
            raise ValueError(f"the summed axes of the kernel must be its first ones, got the equation {self.equation}")
        return sum(summed)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class LowRankMultiHeadAttention(OfThisKeras, tf.keras.layers.MultiHeadAttention):
    """An attention layer of whose four projections low-rank changes train; else as of Keras's `MultiHeadAttention`.

    Args:
        low_rank: see `LowRankLayer`, as `alpha`.
        alpha: see `LowRankLayer`.

    Example:
        >>> LowRankMultiHeadAttention(2, 4, low_rank=2)(tf.ones([1, 5, 3]), tf.ones([1, 5, 3])).shape
        TensorShape([1, 5, 3])
    """

    projections = ("_query_dense", "_key_dense", "_value_dense", "_output_dense")

    def __init__(self, *args: Any, low_rank: int = 8, alpha: float = 8.0, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.low_rank, self.alpha = low_rank, alpha

    if IS_KERAS_3:

        def build(self, query_shape: Any, value_shape: Any, key_shape: Any = None) -> None:
            """Make the projections."""
            super().build(query_shape, value_shape, key_shape)
            for name in self.projections:
                shape = getattr(self, name).get_build_config()["input_shape"]
                self._change(name)
                getattr(self, name).build(shape)

    else:

        def _build_from_signature(self, *args: Any, **kwargs: Any) -> None:
            super()._build_from_signature(*args, **kwargs)
            for name in self.projections:
                self._change(name)

    def _change(self, name: str) -> None:
        config = getattr(self, name).get_config()
        if IS_KERAS_3:
            # Another layer in its attribute does not take it off the list.
            self._tracker.untrack(getattr(self, name))
        setattr(self, name, LowRankEinsumDense.from_config({**config, "low_rank": self.low_rank, "alpha": self.alpha}))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "low_rank": self.low_rank, "alpha": self.alpha}
