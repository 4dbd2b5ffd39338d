"""Backbones by name: from an image in [-1, 1] to a feature map."""

import functools
from collections.abc import Callable
from typing import Any

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.layers import DepthwiseNeck, FlattenNeck, PoolNeck
from ddl_tf.models.iresnet import IRESNETS, iresnet
from ddl_tf.models.keras_cv_backbones import keras_cv_backbone
from ddl_tf.models.mobilefacenet import mobilefacenet
from ddl_tf.models.plain import PLAIN_NETS, plain_net

KERAS_CV = "keras_cv:"

# Name -> function from an image tensor to a feature map tensor.
BACKBONES: dict[str, Callable[[Any], Any]] = {
    **{name: functools.partial(iresnet, name=name) for name in IRESNETS},
    **{name: functools.partial(plain_net, name=name) for name in PLAIN_NETS},
    "mobilefacenet": mobilefacenet,
}


def build_backbone(name: str, input_shape: tuple[int, int, int] = (112, 112, 3)) -> tf.keras.Model:
    """Build a backbone with random weights.

    Args:
        name: `iresnet18`, `iresnet34`, `iresnet50`, `iresnet100`, `mobilefacenet`, `plain_small`, or
            `keras_cv:NAME` with the name of a KerasCV backbone or preset, such as `keras_cv:resnet18_v2`.
        input_shape: `(height, width, channels)` of the images.

    Returns:
        A model named "backbone", image `[batch, height, width, channels]` in [-1, 1] -> feature map
        `[batch, rows, columns, features]`.

    Raises:
        InputError: if there is no backbone of that name, or it cannot take that shape.

    Example:
        >>> build_backbone("plain_small", (48, 48, 3)).output_shape
        (None, 3, 3, 192)
    """
    if len(input_shape) != 3 or any(not isinstance(size, int) or size < 1 for size in input_shape):
        raise InputError(f"input_shape must be (height, width, channels), got {input_shape!r}")
    if name.startswith(KERAS_CV):
        return keras_cv_backbone(name[len(KERAS_CV) :], input_shape)
    if name not in BACKBONES:
        raise InputError(f"unknown backbone {name!r}: use one of {', '.join(sorted(BACKBONES))}, {KERAS_CV}NAME")
    image = tf.keras.Input(input_shape, name="image")
    return tf.keras.Model(image, BACKBONES[name](image), name="backbone")


def default_neck(name: str, embedding_size: int, dropout: float) -> tf.keras.layers.Layer:
    """Make the neck that a backbone of that name is published with; one without dropout refuses it (InputError)."""
    if name in IRESNETS or name in PLAIN_NETS:
        return FlattenNeck(embedding_size, dropout, name="neck")
    if dropout:
        raise InputError(f"the neck of {name} has no dropout: leave dropout at 0, got {dropout}")
    return (DepthwiseNeck if name == "mobilefacenet" else PoolNeck)(embedding_size, name="neck")
