"""LoRA in a network: low-rank layers in the places of others, and back."""

import re
from collections.abc import Callable, Collection
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import IS_KERAS_3, all_layers
from ddl_tf.layers import (
    LowRankConv2D,
    LowRankDense,
    LowRankEinsumDense,
    LowRankLayer,
    LowRankMultiHeadAttention,
)
from ddl_tf.layers.layer_calls import functional_part

_LOW_RANK: dict[type, type] = {
    tf.keras.layers.Dense: LowRankDense,
    tf.keras.layers.Conv2D: LowRankConv2D,
    tf.keras.layers.EinsumDense: LowRankEinsumDense,
    tf.keras.layers.MultiHeadAttention: LowRankMultiHeadAttention,
}
_PLAIN = {low_rank: plain for plain, low_rank in _LOW_RANK.items()}


def add_low_rank(
    network: tf.keras.Model, rank: int, alpha: float, pattern: str = ".*", among: Optional[Collection[str]] = None
) -> tf.keras.Model:
    """Freeze a network's dense and 1 x 1 convolution layers, and give each a low-rank change that trains.

    Args:
        network: functional; models in it are opened, and batch normalisation and other layers stay as they are.
        rank: of the changes.
        alpha: their strength; see `LowRankLayer`.
        pattern: regular expression; only layers whose whole name it matches are changed.
        among: the names of the layers that may be changed; None: all.

    Returns:
        The network with the changed layers; it shares all others with the one that is given, and computes the same.

    Raises:
        InputError: if there is no such layer, or an argument is out of its range.

    Example:
        >>> image = tf.keras.Input([8, 8, 3])
        >>> network = tf.keras.Model(image, tf.keras.layers.Conv2D(16, 1, name="mix")(image))
        >>> [weight.shape.as_list() for weight in add_low_rank(network, 2, 2.0).trainable_weights]
        [[3, 2], [2, 16]]
    """
    added: list[str] = []

    def changed(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        one_by_one = getattr(layer, "kernel_size", (1, 1)) == (1, 1) and getattr(layer, "groups", 1) == 1
        is_chosen = re.fullmatch(pattern, layer.name) and (among is None or layer.name in among)
        if type(layer) not in _LOW_RANK or not one_by_one or not is_chosen:
            return layer
        added.append(layer.name)
        return _converted(layer, _LOW_RANK[type(layer)], low_rank=rank, alpha=alpha)

    try:
        # Keras would hide what is wrong with an argument in what it says of the layer.
        LowRankLayer(low_rank=rank, alpha=alpha)
        network = replace_layers(network, changed)
    except (ValueError, re.error) as error:
        raise InputError(f"LoRA of rank {rank}, alpha {alpha}, layers {pattern}: {error}") from None
    if not added:
        where = "network" if among is None else "blocks that train"
        raise InputError(f"LoRA: no dense or 1 x 1 convolution layer of the {where} has a name that {pattern} matches")
    return network


def merge_low_rank(network: tf.keras.Model) -> tf.keras.Model:
    """Put plain layers in the places of a network's low-rank ones: it computes the same, with fewer weights.

    A network without such layers comes back as it is.

    Example:
        >>> image = tf.keras.Input([8, 8, 3])
        >>> network = tf.keras.Model(image, tf.keras.layers.Conv2D(16, 1, name="mix")(image))
        >>> merge_low_rank(add_low_rank(network, 2, 2.0)).get_layer("mix").weights[0].shape
        TensorShape([1, 1, 3, 16])
    """
    if not any(isinstance(layer, LowRankLayer) for layer in all_layers(network)):
        return network

    def merged(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        return _converted(layer, _PLAIN[type(layer)]) if type(layer) in _PLAIN else layer

    return replace_layers(network, merged)


def _converted(layer: tf.keras.layers.Layer, kind: Any, **arguments: Any) -> tf.keras.layers.Layer:
    """A layer of another kind with the kernel and the bias of one that is built."""
    config = {name: value for name, value in layer.get_config().items() if name not in ("low_rank", "alpha")}
    other = kind.from_config({**config, **arguments})
    if isinstance(layer, tf.keras.layers.MultiHeadAttention):
        if IS_KERAS_3:
            other.build(**layer.get_build_config()["shapes_dict"])
        for name in LowRankMultiHeadAttention.projections:
            _copy(getattr(layer, name), getattr(other, name))
    else:
        _copy(layer, other)
    return other


def _copy(layer: tf.keras.layers.Layer, other: tf.keras.layers.Layer) -> None:
    """Give a layer the kernel and the bias of one that is."""
    if not other.built:
        other.build(layer.get_build_config()["input_shape"])
        other.built = True
    kernel = other.frozen_kernel if isinstance(other, LowRankLayer) else other.kernel
    for variable, value in zip((kernel, other.bias), (layer.kernel, layer.bias)):
        if variable is not None:
            variable.assign(value)


def replace_layers(
    network: tf.keras.Model, replace: Callable[[tf.keras.layers.Layer], tf.keras.layers.Layer]
) -> tf.keras.Model:
    """Build a functional network again with other layers in the places of some; models in it are opened."""

    def clone(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        return replace(layer) if functional_part(layer) is None else replace_layers(layer, replace)

    return tf.keras.models.clone_model(network, clone_function=clone)
