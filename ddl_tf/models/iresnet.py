"""InsightFace's IR networks: Duta et al., "Improved Residual Networks ...", https://arxiv.org/abs/2004.04989.

The layers have the names of the PyTorch modules, so that converted weights find their place by name.
"""

from typing import Any

import tensorflow as tf

from ddl_tf.models.torch_layers import batch_norm, convolution, prelu

# Name -> number of blocks of the four stages.
IRESNETS = {
    "iresnet18": (2, 2, 2, 2),
    "iresnet34": (3, 4, 6, 3),
    "iresnet50": (3, 4, 14, 3),
    "iresnet100": (3, 13, 30, 3),
}


def _conv(x: Any, width: int, kernel_size: int, strides: int, name: str) -> Any:
    # A new initializer for each: one that is used twice gives the same numbers again.
    return convolution(x, width, kernel_size, strides, name, tf.keras.initializers.RandomNormal(stddev=0.1))


def ir_block(x: Any, width: int, strides: int, name: str) -> Any:
    """One residual block of an IR network."""
    shortcut = x
    if strides > 1:
        shortcut = batch_norm(_conv(x, width, 1, strides, f"{name}.downsample.0"), f"{name}.downsample.1")
    x = batch_norm(x, f"{name}.bn1")
    x = _conv(x, width, 3, 1, f"{name}.conv1")
    x = prelu(batch_norm(x, f"{name}.bn2"), f"{name}.prelu")
    x = _conv(x, width, 3, strides, f"{name}.conv2")
    return tf.keras.layers.Add(name=f"{name}.add")([batch_norm(x, f"{name}.bn3"), shortcut])


def iresnet(image: Any, name: str) -> Any:
    """Build one of `IRESNETS`: `[batch, height, width, 3]` -> `[batch, ceil(height / 16), ceil(width / 16), 512]`."""
    x = _conv(image, 64, 3, 1, "conv1")
    x = prelu(batch_norm(x, "bn1"), "prelu")
    for stage, (width, blocks) in enumerate(zip((64, 128, 256, 512), IRESNETS[name]), start=1):
        for block in range(blocks):
            x = ir_block(x, width, 2 if block == 0 else 1, f"layer{stage}.{block}")
    return x
