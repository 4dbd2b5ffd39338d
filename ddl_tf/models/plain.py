"""Small networks of plain 3x3 convolutions, which are several times faster on a CPU than depthwise ones."""

from typing import Any

import tensorflow as tf

from ddl_tf.models.torch_layers import batch_norm, convolution, prelu

# Name -> (width, number of residual blocks) of the stages; each stage halves height and width.
PLAIN_NETS = {"plain_small": ((32, 0), (48, 1), (96, 1), (192, 0))}


def _unit(x: Any, width: int, strides: int = 1) -> Any:
    return prelu(batch_norm(convolution(x, width, 3, strides)))


def plain_net(image: Any, name: str) -> Any:
    """Build one of `PLAIN_NETS`: `[batch, height, width, 3]` -> `[batch, height / 16, width / 16, channels]`."""
    x = image
    for width, blocks in PLAIN_NETS[name]:
        x = _unit(x, width, strides=2)
        for _ in range(blocks):
            residual = _unit(x, width)
            residual = batch_norm(convolution(residual, width, 3))
            x = prelu(tf.keras.layers.Add()([x, residual]))
    return x
