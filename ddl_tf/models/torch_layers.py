"""Convolution, batch normalisation and PReLU as PyTorch defines them, for networks that share its weights."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.layers import BATCH_NORM


def convolution(
    x: Any, filters: int, kernel_size: int, strides: int = 1, name: Optional[str] = None, initializer: Any = "he_normal"
) -> Any:
    """Convolve without bias, padded by half of the (odd) kernel on all sides.

    Keras' own "same" padding with a stride of 2 pads nothing on top and left when the size is even, which shifts
    the picture by half a pixel against PyTorch.
    """
    padding = "same" if strides == 1 else "valid"
    layer = tf.keras.layers.Conv2D(
        filters, kernel_size, strides, padding, use_bias=False, kernel_initializer=initializer, name=name
    )
    return layer(pad(x, kernel_size, strides))


def pad(x: Any, kernel_size: int, strides: int) -> Any:
    """Pad by half of the kernel, where "same" padding would not do just that."""
    return tf.keras.layers.ZeroPadding2D(kernel_size // 2)(x) if strides > 1 and kernel_size > 1 else x


def batch_norm(x: Any, name: Optional[str] = None) -> Any:
    """Normalise with PyTorch's epsilon and momentum."""
    return tf.keras.layers.BatchNormalization(name=name, **BATCH_NORM)(x)


def prelu(x: Any, name: Optional[str] = None) -> Any:
    """Apply a ReLU with one learnt negative slope for each channel."""
    start = tf.keras.initializers.Constant(0.25)
    return tf.keras.layers.PReLU(alpha_initializer=start, shared_axes=[1, 2], name=name)(x)
