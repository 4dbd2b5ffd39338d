"""InsightFace's IR networks and MobileFaceNet, and a small network of our own, as PyTorch defines their layers.

The layers of InsightFace's have the names of the PyTorch modules, so that converted weights find their place by name.
"""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.layers import BATCH_NORM, GroupedConvolution

# Name -> number of blocks of the four stages: Duta et al., "Improved Residual Networks ...",
# https://arxiv.org/abs/2004.04989.
IRESNETS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}
# Name -> (width, number of residual blocks) of the stages, each of which halves height and width. Plain convolutions
# are several times faster on a CPU than depthwise ones.
PLAIN_NETS = {"plain_small": ((32, 0), (48, 1), (96, 1), (192, 0))}


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
    return layer(_pad(x, kernel_size, strides))


def _pad(x: Any, kernel_size: int, strides: int) -> Any:
    """Pad by half of the kernel, where "same" padding would not do just that."""
    return tf.keras.layers.ZeroPadding2D(kernel_size // 2)(x) if strides > 1 and kernel_size > 1 else x


def batch_norm(x: Any, name: Optional[str] = None) -> Any:
    """Normalise with PyTorch's epsilon and momentum."""
    return tf.keras.layers.BatchNormalization(name=name, **BATCH_NORM)(x)


def prelu(x: Any, name: Optional[str] = None) -> Any:
    """Apply a ReLU with one learnt negative slope for each channel."""
    start = tf.keras.initializers.Constant(0.25)
    return tf.keras.layers.PReLU(alpha_initializer=start, shared_axes=[1, 2], name=name)(x)


def _conv(x: Any, width: int, kernel_size: int, strides: int, name: str) -> Any:
    # A new initializer for each: one that is used twice gives the same numbers again.
    return convolution(x, width, kernel_size, strides, name, tf.keras.initializers.RandomNormal(stddev=0.1))


def ir_block(x: Any, width: int, strides: int, name: str) -> Any:
    """One residual block of an IR network."""
    shortcut = x
    if strides > 1:
        shortcut = batch_norm(_conv(x, width, 1, strides, f"{name}.downsample.0"), f"{name}.downsample.1")
    x = _conv(batch_norm(x, f"{name}.bn1"), width, 3, 1, f"{name}.conv1")
    x = prelu(batch_norm(x, f"{name}.bn2"), f"{name}.prelu")
    x = _conv(x, width, 3, strides, f"{name}.conv2")
    return tf.keras.layers.Add(name=f"{name}.add")([batch_norm(x, f"{name}.bn3"), shortcut])


def iresnet(image: Any, name: str) -> Any:
    """Build one of `IRESNETS`: `[batch, height, width, 3]` -> `[batch, ceil(height / 16), ceil(width / 16), 512]`."""
    x = prelu(batch_norm(_conv(image, 64, 3, 1, "conv1"), "bn1"), "prelu")
    for stage, (width, blocks) in enumerate(zip((64, 128, 256, 512), IRESNETS[name]), start=1):
        for block in range(blocks):
            x = ir_block(x, width, 2 if block == 0 else 1, f"layer{stage}.{block}")
    return x


def _initializer() -> tf.keras.initializers.Initializer:
    # A new one for each layer, as in `_conv`.
    return tf.keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def _unit(x: Any, width: int, name: str, kernel_size: int = 1, strides: int = 1) -> Any:
    x = convolution(x, width, kernel_size, strides, f"{name}.layers.0", _initializer())
    return prelu(batch_norm(x, f"{name}.layers.1"), f"{name}.layers.2")


def _bottleneck(x: Any, width: int, expanded: int, strides: int, name: str) -> Any:
    x = _unit(x, expanded, f"{name}.layers.0")
    padding, depthwise = "same" if strides == 1 else "valid", f"{name}.layers.1.layers"
    layer = tf.keras.layers.DepthwiseConv2D(
        3, strides, padding, use_bias=False, depthwise_initializer=_initializer(), name=f"{depthwise}.0"
    )
    x = prelu(batch_norm(layer(_pad(x, 3, strides)), f"{depthwise}.1"), f"{depthwise}.2")
    x = convolution(x, width, 1, 1, f"{name}.layers.2.layers.0", _initializer())
    return batch_norm(x, f"{name}.layers.2.layers.1")


def _residuals(x: Any, blocks: int, expanded: int, name: str) -> Any:
    for block in range(blocks):
        block_name = f"{name}.layers.{block}"
        x = tf.keras.layers.Add(name=f"{block_name}.add")([x, _bottleneck(x, x.shape[-1], expanded, 1, block_name)])
    return x


def mobilefacenet(image: Any) -> Any:
    """Build InsightFace's MobileFaceNet, twice as wide as the paper's, without its `DepthwiseNeck`.

    `[batch, height, width, 3]` -> `[batch, height / 16, width / 16, 512]`.
    """
    x = _unit(image, 128, "layers.0", kernel_size=3, strides=2)
    x = GroupedConvolution(64, kernel_initializer=_initializer(), name="layers.1.layers.0")(x)
    x = prelu(batch_norm(x, "layers.1.layers.1"), "layers.1.layers.2")
    x = _residuals(_bottleneck(x, 128, 128, 2, "layers.2"), 4, 128, "layers.3")
    x = _residuals(_bottleneck(x, 256, 256, 2, "layers.4"), 6, 256, "layers.5")
    x = _residuals(_bottleneck(x, 256, 512, 2, "layers.6"), 2, 256, "layers.7")
    return _unit(x, 512, "conv_sep")


def plain_net(image: Any, name: str) -> Any:
    """Build one of `PLAIN_NETS`: `[batch, height, width, 3]` -> `[batch, height / 16, width / 16, channels]`."""
    x = image
    for width, blocks in PLAIN_NETS[name]:
        x = prelu(batch_norm(convolution(x, width, 3, strides=2)))
        for _ in range(blocks):
            residual = prelu(batch_norm(convolution(x, width, 3)))
            residual = batch_norm(convolution(residual, width, 3))
            x = prelu(tf.keras.layers.Add()([x, residual]))
    return x
