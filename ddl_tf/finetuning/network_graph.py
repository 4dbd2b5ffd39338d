"""A network as the list of its layers' calls, nested models opened: where it can be cut, and the parts."""

from collections.abc import Sequence
from typing import Any, NamedTuple

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import refuse_other
from ddl_tf.layers.layer_calls import call_again, called_inputs, called_layer, functional_part, graph_calls


class LayerCall(NamedTuple):
    """One call of a layer; tensors have numbers."""

    layer: tf.keras.layers.Layer
    node: Any  # of Keras: the arguments of the call
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]

    def again(self, tensors: dict[int, Any]) -> None:
        """Call the layer on other tensors, by number, and add what comes out."""
        tensors.update(zip(self.outputs, call_again(self.node, [tensors[number] for number in self.inputs])))


class NetworkGraph:
    """The calls of a network from one image to one output, in an order in which they can run.

    Attributes:
        calls: those of the innermost layers.
    """

    def __init__(self, network: tf.keras.Model) -> None:
        self._network = network
        self._count = 1
        self.calls: list[LayerCall] = []
        self._output = self._open(functional_part(network) or network, 0)

    def _open(self, model: tf.keras.Model, start: int) -> int:
        """Add the calls of a model whose input has the number `start`; returns that of its output."""
        number = {id(model.inputs[0]): start}
        for node in graph_calls(model):
            layer = called_layer(node)
            inputs = tuple(number[name] for name in called_inputs(node))
            outputs = tf.nest.flatten(node.outputs)
            inner = functional_part(layer)
            if inner is not None and len(inner.inputs) == len(inner.outputs) == 1:
                number[id(outputs[0])] = self._open(inner, inputs[0])
                continue
            numbers = tuple(range(self._count, self._count + len(outputs)))
            self._count += len(outputs)
            number.update(zip(map(id, outputs), numbers))
            self.calls.append(LayerCall(layer, node, inputs, numbers))
        return number[id(model.outputs[0])]

    def cuts(self) -> dict[int, int]:
        """Where one tensor alone goes on: the number of calls before it (from 0: the image) -> its number."""
        last_use = {tensor: place for place, call in enumerate(self.calls) for tensor in call.inputs}
        last_use[self._output] = len(self.calls)
        alive, cuts = {0}, {0: 0}
        for place, call in enumerate(self.calls):
            alive |= set(call.outputs)
            alive = {tensor for tensor in alive if last_use.get(tensor, -1) > place}
            if len(alive) == 1:
                (cuts[place + 1],) = alive
        return cuts

    def block_starts(self) -> list[int]:
        """The calls that begin the network's blocks: a block ends where branches have come together into one tensor."""
        ends = [cut for cut in self.cuts() if 0 < cut < len(self.calls) and len(self.calls[cut - 1].inputs) > 1]
        return [0, *ends]

    def parts(self, cut: int) -> tuple[tf.keras.Model, tf.keras.Model]:
        """Make the two models before and after a cut; they share the network's layers.

        Args:
            cut: a key of `cuts`.

        Returns:
            image -> the tensor at the cut, and that tensor -> the network's output.
        """
        tensor = self.cuts()[cut]
        image = tf.keras.Input(self._network.input_shape[1:])
        tensors = {0: image}
        for call in self.calls[:cut]:
            call.again(tensors)
        lower = tf.keras.Model(image, tensors[tensor], name="lower_layers")
        activation = tf.keras.Input(tensors[tensor].shape[1:], dtype=tensors[tensor].dtype)
        tensors = {tensor: activation}
        for call in self.calls[cut:]:
            call.again(tensors)
        return lower, tf.keras.Model(activation, tensors[self._output], name="upper_layers")


def check_network(network: tf.keras.Model) -> None:
    """Refuse (InputError) a network that is no functional Keras model of one image."""
    refuse_other(network, "the network")
    if functional_part(network) is None:
        raise InputError(f"the layers of {network.name} cannot be told apart: it is no functional Keras model")


def weighted_layers(calls: Sequence[LayerCall]) -> list[tf.keras.layers.Layer]:
    """The layers with weights, each once, in the order of their first call."""
    return [layer for layer in {id(call.layer): call.layer for call in calls}.values() if layer.weights]
