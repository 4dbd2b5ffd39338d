"""Grouped convolution that trains on a CPU too."""

import contextlib
from collections.abc import Iterator
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.keras_version import OfThisKeras, all_layers
from ddl_tf.layers.margin import check_argument


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class GroupedConvolution(OfThisKeras, tf.keras.layers.Layer):
    """Convolve each of several groups of channels for itself.

    TensorFlow has no gradient of grouped convolutions on the CPU. A grouped one is a depthwise one that gives every
    input channel all outputs of its group, followed by a sum over the inputs of the group. Training on CPUs, with as
    many outputs as inputs, it is a sum of depthwise ones instead, whose gradient takes a third of the time there: see
    `_sum_of_shifts`. Input and output are `[batch, height, width, channels]`.

    Args:
        groups: number of groups, at least 1; it must divide the number of channels (ValueError).
        kernel_size: height and width of the kernel, at least 1.
        kernel_initializer: of the kernel.
        filters: number of output channels, which `groups` divides (ValueError); as many as come in if not given.
        strides: step between positions in height and width, at least 1.
        padding: "same" or "valid".
        use_bias: whether a number is added to each output channel.

    Example:
        >>> GroupedConvolution(groups=4)(tf.random.normal([2, 5, 5, 8])).shape
        TensorShape([2, 5, 5, 8])
    """

    def __init__(
        self,
        groups: int,
        kernel_size: int = 3,
        kernel_initializer: Any = "he_normal",
        filters: Optional[int] = None,
        strides: int = 1,
        padding: str = "same",
        use_bias: bool = False,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("groups", groups), ("kernel_size", kernel_size), ("strides", strides)):
            check_argument(int(value) >= 1, f"{name} must be at least 1, got {value!r}")
        check_argument(padding in ("same", "valid"), f'padding must be "same" or "valid", got {padding!r}')
        self.groups, self.kernel_size, self.strides = int(groups), int(kernel_size), int(strides)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)
        self.filters = None if filters is None else int(filters)
        self.padding, self.use_bias = padding, bool(use_bias)
        self._is_one_operation = False

    def build(self, input_shape: Any) -> None:
        """Make the kernel."""
        channels = int(input_shape[-1])
        filters = channels if self.filters is None else self.filters
        numbers = f"{self.groups} groups, {channels} channels, {filters} filters"
        divides = filters > 0 and not channels % self.groups and not filters % self.groups
        check_argument(divides, f"groups must divide the number of channels, got {numbers}")
        shape = (self.kernel_size, self.kernel_size, channels, filters // self.groups)
        self.kernel = self.add_weight(name="kernel", shape=shape, initializer=self.kernel_initializer)
        self.bias = self.add_weight(name="bias", shape=(filters,), initializer="zeros") if self.use_bias else None
        super().build(input_shape)

    def call(self, x: tf.Tensor, training: Any = None) -> tf.Tensor:
        """Convolve."""
        inputs, outputs = self.kernel.shape[-2] // self.groups, self.kernel.shape[-1]
        strides, padding = [1, self.strides, self.strides, 1], self.padding.upper()
        if self._is_one_operation:
            size = [self.kernel_size, self.kernel_size]
            by_group = tf.transpose(tf.reshape(self.kernel, [*size, self.groups, inputs, outputs]), [0, 1, 3, 2, 4])
            x = tf.nn.conv2d(x, tf.reshape(by_group, [*size, inputs, self.groups * outputs]), strides, padding)
        # Where there is a GPU, and in inference, which is exported, nothing but the plain operations.
        elif training is True and inputs == outputs and not tf.config.list_physical_devices("GPU"):
            x = self._sum_of_shifts(x)
        else:
            x = self._depthwise(x, self.kernel)
            # What is known of the shape goes in: TensorFlow Lite cannot say again what a reshape has forgotten.
            sides = [-1, *(known or tf.shape(x)[axis] for axis, known in enumerate(x.shape[1:3], start=1))]
            by_group = tf.reshape(x, [*sides, self.groups, inputs, outputs])
            x = tf.reshape(tf.reduce_sum(by_group, axis=4), [*sides, self.groups * outputs])
        return x if self.bias is None else tf.nn.bias_add(x, self.bias)

    def _depthwise(self, x: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        return tf.nn.depthwise_conv2d(x, kernel, [1, self.strides, self.strides, 1], self.padding.upper())

    def _sum_of_shifts(self, x: tf.Tensor) -> tf.Tensor:
        """Convolve by as many depthwise ones as a group has channels.

        Output o of a group sees input o + shift of it by the one of that shift, turned round at the end of the group.
        """
        size, area = self.kernel.shape[-1], [self.kernel_size, self.kernel_size]
        kernel = tf.reshape(self.kernel, [*area, self.groups, size, size])
        # The first channels of all groups, then the second ones, ...: a turn then moves long rows of numbers.
        ordered = tf.transpose(tf.reshape(x, [-1, self.groups, size]), [0, 2, 1])
        total = []
        for shift in range(size):
            turned = tf.reshape(tf.roll(ordered, -shift, axis=1) if shift else ordered, tf.shape(x))
            seen = tf.linalg.diag_part(tf.roll(kernel, -shift, axis=-2))
            seen = tf.reshape(tf.transpose(seen, [0, 1, 3, 2]), [*area, -1, 1])
            total.append(self._depthwise(tf.ensure_shape(turned, x.shape), seen))
        total = tf.add_n(total)
        back = tf.transpose(tf.reshape(total, [-1, size, self.groups]), [0, 2, 1])
        return tf.reshape(back, tf.shape(total))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        names = ("groups", "kernel_size", "filters", "strides", "padding", "use_bias")
        config = {**super().get_config(), **{name: getattr(self, name) for name in names}}
        return {**config, "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer)}


@contextlib.contextmanager
def as_one_operation(model: tf.keras.Model) -> Iterator[None]:
    """Let a graph that is traced meanwhile have one operation for each grouped convolution of a model.

    It is for runtimes that compute such an operation fast. TensorFlow itself cannot run it on every CPU.
    """
    layers = [layer for layer in all_layers(model) if isinstance(layer, GroupedConvolution)]
    for layer in layers:
        layer._is_one_operation = True
    try:
        yield
    finally:
        for layer in layers:
            layer._is_one_operation = False
