"""Which layers of a network train."""

import re
from collections.abc import Sequence
from typing import Optional

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import all_layers
from ddl_tf.finetuning.network_graph import NetworkGraph, check_network, weighted_layers
from ddl_tf.layers import LowRankLayer, LowRankMultiHeadAttention


def train_only(
    network: tf.keras.Model,
    last_blocks: Optional[int] = None,
    patterns: Sequence[str] = (),
    freeze_batch_norm: bool = False,
) -> list[str]:
    """Let some layers of a network train, and freeze all others.

    Low-rank layers (LoRA) train in any case: where a network has some, no other layer does unless it is chosen.

    A block ends where branches have come together into one tensor: behind the sum of a residual block, the
    concatenation of a dense or inception block. What follows the last one, with the embedding, is a block too. A frozen
    layer keeps its weights and runs as in inference: batch normalisation by its stored statistics.

    Args:
        network: from image to embedding, functional; models in it are opened.
        last_blocks: number of the blocks, counted from the end, that train; all if neither it nor `patterns` are given.
        patterns: regular expressions; layers whose whole name one of them matches train too.
        freeze_batch_norm: whether no batch normalisation trains, in whatever layer.

    Returns:
        The names of the layers that train, in the order in which they run.

    Raises:
        InputError: if the network has fewer blocks, a pattern is wrong or matches no layer with weights, or nothing is
            left to train.

    Example:
        >>> from ddl_tf.models import build_embedding_model
        >>> network = build_embedding_model("iresnet18", 64, (32, 32, 3))
        >>> train_only(network, last_blocks=1, patterns=["layer4.1.conv."])
        ['layer4.1.conv1', 'layer4.1.conv2', 'neck']
    """
    check_network(network)
    graph = NetworkGraph(network)
    layers = weighted_layers(graph.calls)
    low_rank = [layer for layer in layers if _is_low_rank(layer)]
    chosen = low_rank or (layers if last_blocks is None and not patterns else [])
    if last_blocks is not None:
        chosen = [*chosen, *_of_last_blocks(graph, last_blocks)]
    for pattern in patterns:
        matching = [layer for layer in layers if _matches(pattern, layer.name)]
        if not matching:
            known = ", ".join(layer.name for layer in layers)
            raise InputError(f"--train_layers={pattern}: no layer with weights has such a name; there are {known}")
        chosen = [*chosen, *matching]
    for layer in layers:
        layer.trainable = any(layer is other for other in chosen)
    for layer in all_layers(network):
        if isinstance(layer, tf.keras.layers.BatchNormalization) and freeze_batch_norm:
            layer.trainable = False
    names = [layer.name for layer in layers if layer.trainable_weights]
    if not names:
        raise InputError(
            "nothing of the network is left to train: choose other layers (--train_blocks, --train_layers)"
        )
    return names


def _of_last_blocks(graph: NetworkGraph, last_blocks: int) -> list[tf.keras.layers.Layer]:
    """The layers with weights of the last blocks; InputError if there are not so many."""
    starts = graph.block_starts()
    if not 1 <= last_blocks <= len(starts):
        raise InputError(
            f"--train_blocks={last_blocks}: the network has {len(starts)} blocks (of {', '.join(_sizes(graph))} "
            "layers); give a number from 1 on that is not above, or name layers with --train_layers"
        )
    return weighted_layers(graph.calls[starts[-last_blocks] :])


def layers_of_last_blocks(network: tf.keras.Model, last_blocks: int) -> list[str]:
    """List the names of the layers with weights of a network's last blocks; see `train_only`."""
    check_network(network)
    return [layer.name for layer in _of_last_blocks(NetworkGraph(network), last_blocks)]


def _is_low_rank(layer: tf.keras.layers.Layer) -> bool:
    return any(isinstance(part, (LowRankLayer, LowRankMultiHeadAttention)) for part in (layer, *all_layers(layer)))


def _matches(pattern: str, name: str) -> bool:
    try:
        return re.fullmatch(pattern, name) is not None
    except re.error as error:
        raise InputError(f"--train_layers={pattern} is no regular expression: {error}") from None


def _sizes(graph: NetworkGraph) -> list[str]:
    starts = [*graph.block_starts(), len(graph.calls)]
    return [str(len(weighted_layers(graph.calls[a:b]))) for a, b in zip(starts, starts[1:])]
