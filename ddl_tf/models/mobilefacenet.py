"""InsightFace's MobileFaceNet, twice as wide as the paper's.

The layers have the names of the PyTorch modules, so that converted weights find their place by name.
"""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.layers import GroupedConvolution
from ddl_tf.models.torch_layers import batch_norm, convolution, pad, prelu


def _initializer() -> tf.keras.initializers.Initializer:
    # A new one for each layer: one that is used twice gives the same numbers again.
    return tf.keras.initializers.VarianceScaling(2.0, "fan_out", "untruncated_normal")


def _unit(x: Any, width: int, name: str, kernel_size: int = 1, strides: int = 1) -> Any:
    x = convolution(x, width, kernel_size, strides, f"{name}.layers.0", _initializer())
    return prelu(batch_norm(x, f"{name}.layers.1"), f"{name}.layers.2")


def _dtype(strides: int) -> Optional[str]:
    """The precision of a depthwise convolution, None for that of the policy.

    On CPUs oneDNN has no fast gradient of one with strides in bfloat16: it takes ten times as long as in float32.
    """
    is_bfloat16 = tf.keras.mixed_precision.global_policy().compute_dtype == "bfloat16"
    return "float32" if strides > 1 and is_bfloat16 and not tf.config.list_physical_devices("GPU") else None


def _depthwise(x: Any, strides: int, name: str) -> Any:
    padding, start = "same" if strides == 1 else "valid", _initializer()
    layer = tf.keras.layers.DepthwiseConv2D(
        3, strides, padding, use_bias=False, depthwise_initializer=start, name=f"{name}.layers.0", dtype=_dtype(strides)
    )
    x = layer(pad(x, 3, strides))
    return prelu(batch_norm(x, f"{name}.layers.1"), f"{name}.layers.2")


def _bottleneck(x: Any, width: int, expanded: int, strides: int, name: str) -> Any:
    x = _unit(x, expanded, f"{name}.layers.0")
    x = _depthwise(x, strides, f"{name}.layers.1")
    x = convolution(x, width, 1, 1, f"{name}.layers.2.layers.0", _initializer())
    return batch_norm(x, f"{name}.layers.2.layers.1")


def _residuals(x: Any, blocks: int, expanded: int, name: str) -> Any:
    for block in range(blocks):
        block_name = f"{name}.layers.{block}"
        x = tf.keras.layers.Add(name=f"{block_name}.add")([x, _bottleneck(x, x.shape[-1], expanded, 1, block_name)])
    return x


def mobilefacenet(image: Any) -> Any:
    """Build it without its `DepthwiseNeck`: `[batch, height, width, 3]` -> `[batch, height / 16, width / 16, 512]`."""
    x = _unit(image, 128, "layers.0", kernel_size=3, strides=2)
    x = GroupedConvolution(64, kernel_initializer=_initializer(), name="layers.1.layers.0")(x)
    x = prelu(batch_norm(x, "layers.1.layers.1"), "layers.1.layers.2")
    x = _bottleneck(x, 128, 128, 2, "layers.2")
    x = _residuals(x, 4, 128, "layers.3")
    x = _bottleneck(x, 256, 256, 2, "layers.4")
    x = _residuals(x, 6, 256, "layers.5")
    x = _bottleneck(x, 256, 512, 2, "layers.6")
    x = _residuals(x, 2, 256, "layers.7")
    return _unit(x, 512, "conv_sep")
