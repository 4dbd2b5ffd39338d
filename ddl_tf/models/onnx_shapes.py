"""The operations of an ONNX network that arrange values, or leave them as they are."""

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from ddl_tf.models.onnx_node import Image, Node, Norm, UnsupportedError, Value, Vector, plain, same_kind

# Where the axes of an ONNX image are in Keras.
_KERAS_AXES = (0, 3, 1, 2)
_L = tf.keras.layers


def _flatten(node: Node) -> Value:
    node.require(axis=1)
    return Vector(_L.Flatten(name=node.name)(plain(node.inputs[0])))  # type: ignore[arg-type]


def _reshape(node: Node) -> Value:
    shape, value = node.constant(1, "shape"), node.tensor()
    if shape is None:
        raise UnsupportedError("it has no shape")
    tensor = plain(value)
    known = [0, *tensor.shape[1:]]
    if isinstance(value, Image) and value.tensor.shape[1:3] == (1, 1):
        known = [0, value.tensor.shape[-1], 1, 1]
    wanted = [known[axis] if side == 0 and axis else int(side) for axis, side in enumerate(shape.reshape(-1))]
    items = int(np.prod(known[1:]))
    if wanted[0] not in (0, -1, 1):
        raise UnsupportedError(f"it makes a batch of {wanted[0]}")
    if -1 in wanted[1:]:
        wanted[wanted.index(-1, 1)] = -items // int(np.prod(wanted[1:]))
    if int(np.prod(wanted[1:])) != items:
        raise UnsupportedError(f"it mixes images: {known[1:]} becomes {wanted[1:]}")
    if len(wanted) == 2:
        return Vector(_L.Flatten(name=node.name)(tensor))
    if len(wanted) == 4 and wanted[2:] == [1, 1]:
        return Image(_L.Reshape((1, 1, items), name=node.name)(tensor))
    raise UnsupportedError(f"it gives the shape {wanted[1:]}")


def _squeeze(node: Node) -> Value:
    tensor = node.image().tensor
    axes = node.constant(1, "axes")
    if tensor.shape[1:3] != (1, 1) or (axes is not None and sorted(a % 4 for a in axes.reshape(-1).tolist()) != [2, 3]):
        raise UnsupportedError("of other axes than a height and width of 1")
    return Vector(_L.Flatten(name=node.name)(tensor))


def _unsqueeze(node: Node) -> Value:
    axes = node.constant(1, "axes")
    if isinstance(node.inputs[0], Norm):
        return node.inputs[0]
    tensor = plain(node.tensor())
    if axes is None or len(tensor.shape) != 2 or sorted(axis % 4 for axis in axes.reshape(-1).tolist()) != [2, 3]:
        raise UnsupportedError("to other axes than a height and width")
    return Image(_L.Reshape((1, 1, tensor.shape[1]), name=node.name)(tensor))


def _transpose(node: Node) -> Value:
    order = node.attributes.get("perm")
    value = node.inputs[0]
    if isinstance(value, Vector) and len(value.tensor.shape) == 4 and order == [0, 3, 1, 2]:
        return Image(value.tensor)
    if isinstance(value, Image) and order == [0, 2, 3, 1]:
        return Vector(value.tensor)
    raise UnsupportedError(f"the order {order}")


def _concat(node: Node) -> Value:
    if not all(isinstance(value, Image) for value in node.inputs) or node.attributes["axis"] % 4 != 1:
        raise UnsupportedError("of anything but channels")
    layer = _L.Concatenate(name=node.name)
    return Image(layer([value.tensor for value in node.inputs]))  # type: ignore[union-attr]


def _pad(node: Node) -> Value:
    pads, number = node.constant(1, "pads"), node.constant(2, "value")
    mode = node.attributes.get("mode", "constant")
    value = node.tensor()
    channels_last = isinstance(value, Vector) and len(value.tensor.shape) == 4
    if pads is not None and channels_last:
        pads = pads[[0, 3, 1, 2, 4, 7, 5, 6]]
    if pads is None or len(pads) != 8 or any(pads[[0, 1, 4, 5]]) or mode != "constant" or (number or 0) != 0:
        raise UnsupportedError("with anything but zeros around the image")
    _, _, top, left, _, _, bottom, right = pads.tolist()
    padding = _L.ZeroPadding2D(((top, bottom), (left, right)), name=node.name)
    return same_kind(value, padding(value.tensor))


def _pass(node: Node) -> Value:
    node.require(to=1)
    return node.tensor()


def _pass_norm(node: Node) -> Value:
    """What keeps a norm from 0, or gives it the shape of the vector."""
    if not isinstance(node.inputs[0], Norm):
        raise UnsupportedError("of anything but a norm")
    return node.inputs[0]


def _shape(node: Node) -> Value:
    """The shape; 0 stands for the batch, as it does in a `Reshape`."""
    value = node.tensor()
    sides = value.tensor.shape
    ordered = [sides[axis] for axis in _KERAS_AXES] if isinstance(value, Image) else list(sides)
    return np.array([0, *ordered[1:]], np.int64)


SHAPE_OPERATIONS: dict[str, Callable[[Node], Value]] = {
    **dict.fromkeys(("Cast", "Dropout", "Identity"), _pass),
    **dict.fromkeys(("Expand", "Max"), _pass_norm),
    "Concat": _concat,
    "Flatten": _flatten,
    "Pad": _pad,
    "Reshape": _reshape,
    "Shape": _shape,
    "Squeeze": _squeeze,
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}
