"""The calls of a network's layers, as Keras 2 and Keras 3 keep them."""

from collections.abc import Sequence
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3

if IS_KERAS_3:
    from keras.src.models.functional import Functional as _Functional
else:
    _Functional = tf.keras.Sequential.__mro__[1]
_GRAPH_CALLS = (_Functional.call, tf.keras.Sequential.call)


def functional_part(layer: tf.keras.layers.Layer) -> Optional[tf.keras.Model]:
    """Return the graph of a functional or sequential model that runs as Keras runs it; None for any other layer."""
    if type(layer).call not in _GRAPH_CALLS or not layer.built:
        return None
    # In Keras 3 a sequential model holds a functional one.
    return getattr(layer, "_functional", None) or layer


def graph_calls(model: tf.keras.Model) -> list[Any]:
    """List Keras's nodes, the calls of layers in a functional model, in an order in which they can run."""
    depths = model._nodes_by_depth
    return [node for depth in sorted(depths, reverse=True) for node in depths[depth] if not node.is_input]


def called_layer(node: Any) -> tf.keras.layers.Layer:
    """Return the layer that a node calls."""
    return node.operation if IS_KERAS_3 else node.layer


def called_inputs(node: Any) -> list[int]:
    """List the ids of the tensors that a node's layer is called on."""
    return list(map(id, node.input_tensors)) if IS_KERAS_3 else list(map(int, node.flat_input_ids))


def call_again(node: Any, tensors: Sequence[Any]) -> list[Any]:
    """Call a node's layer as it was called, on other tensors in the order of `called_inputs`."""
    if IS_KERAS_3:
        arguments, keywords = node.arguments.fill_in(dict(zip(called_inputs(node), tensors)))
    else:
        waiting: dict[str, list[Any]] = {}
        for name, tensor in zip(node.flat_input_ids, tensors):
            waiting.setdefault(name, []).append(tensor)
        arguments, keywords = node.map_arguments(waiting)
    return tf.nest.flatten(called_layer(node)(*arguments, **keywords))


def layer_of(tensor: Any) -> tf.keras.layers.Layer:
    """Return the layer whose call a symbolic tensor comes from."""
    return tensor._keras_history.operation if IS_KERAS_3 else tensor.node.layer
