"""Grouped convolution that trains on a CPU too."""

from typing import Any

import tensorflow as tf


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class GroupedConvolution(tf.keras.layers.Layer):
    """Convolve each of several groups of channels for itself, without bias, with a stride of 1.

    TensorFlow has no gradient of grouped convolutions on the CPU. A grouped one is a depthwise one that gives every
    input channel all outputs of its group, followed by a sum over the inputs of the group. Input and output are
    `[batch, height, width, channels]`.

    Args:
        groups: number of groups, at least 1; it must divide the number of channels (ValueError).
        kernel_size: height and width of the kernel, at least 1.
        kernel_initializer: of the kernel.

    Example:
        >>> GroupedConvolution(groups=4)(tf.random.normal([2, 5, 5, 8])).shape
        TensorShape([2, 5, 5, 8])
    """

    def __init__(self, groups: int, kernel_size: int = 3, kernel_initializer: Any = "he_normal", **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if int(groups) < 1:
            raise ValueError(f"groups must be at least 1, got {groups!r}")
        if int(kernel_size) < 1:
            raise ValueError(f"kernel_size must be at least 1, got {kernel_size!r}")
        self.groups = int(groups)
        self.kernel_size = int(kernel_size)
        self.kernel_initializer = tf.keras.initializers.get(kernel_initializer)

    def build(self, input_shape: Any) -> None:
        """Make the kernel."""
        channels = int(input_shape[-1])
        if channels % self.groups:
            raise ValueError(
                f"groups must divide the number of channels, got {self.groups} groups, {channels} channels"
            )
        self.kernel = self.add_weight(
            name="kernel",
            shape=(self.kernel_size, self.kernel_size, channels, channels // self.groups),
            initializer=self.kernel_initializer,
        )
        super().build(input_shape)

    def call(self, x: tf.Tensor) -> tf.Tensor:
        """Convolve."""
        per_group = self.kernel.shape[-1]
        x = tf.nn.depthwise_conv2d(x, self.kernel, strides=[1, 1, 1, 1], padding="SAME")
        # What is known of the shape goes in: TensorFlow Lite cannot say again what a reshape has forgotten.
        sides = [-1, *(known or tf.shape(x)[axis] for axis, known in enumerate(x.shape[1:3], start=1))]
        by_group = tf.reshape(x, [*sides, self.groups, per_group, per_group])
        return tf.reshape(tf.reduce_sum(by_group, axis=4), [*sides, self.groups * per_group])

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {
            **super().get_config(),
            "groups": self.groups,
            "kernel_size": self.kernel_size,
            "kernel_initializer": tf.keras.initializers.serialize(self.kernel_initializer),
        }
