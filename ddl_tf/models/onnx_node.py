"""The values between the operations of an ONNX network, one operation, and those that only arrange values.

ONNX has images as `[batch, channels, height, width]`, Keras as `[batch, height, width, channels]`: an `Image` stands
for the former and holds the latter.
"""

from collections.abc import Callable
from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf

_L = tf.keras.layers


class Image(NamedTuple):
    """An image or feature map: the tensor is `[batch, height, width, channels]`."""

    tensor: Any


class Vector(NamedTuple):
    """A tensor with the axes that it has in ONNX."""

    tensor: Any


class Norm(NamedTuple):
    """The Euclidean norm of a vector raised to a power, which a network divides by; before its sum the squares."""

    vector: Vector
    power: float
    is_sum: bool


Value = Union[np.ndarray, Image, Vector, Norm]


class UnsupportedError(ValueError):
    """An operation, or a use of it, that has no layer here."""


class Node(NamedTuple):
    """One operation: its type, the name of its layer, its inputs (None for one that is left out) and attributes."""

    type: str
    name: str
    inputs: list[Optional[Value]]
    attributes: dict[str, Any]

    def constant(self, position: int, attribute: str = "") -> Optional[np.ndarray]:
        """Return an input that is known, or the attribute that older files have in its place."""
        value = self.inputs[position] if position < len(self.inputs) else None
        if value is None:
            return np.asarray(self.attributes[attribute]) if attribute in self.attributes else None
        if not isinstance(value, np.ndarray):
            raise UnsupportedError(f"input {position} is computed from the image")
        return value

    def weight(self, position: int) -> np.ndarray:
        """Return an input that must be there, and known."""
        value = self.constant(position)
        if value is None:
            raise UnsupportedError(f"input {position} is missing")
        return value

    def tensor(self) -> Union[Image, Vector]:
        """Return the first input, which is computed from the image."""
        value = self.inputs[0] if self.inputs else None
        if not isinstance(value, (Image, Vector)):
            raise UnsupportedError("its input is not computed from the image")
        return value

    def image(self) -> Image:
        """Return the first input, a feature map."""
        value = self.tensor()
        if not isinstance(value, Image):
            raise UnsupportedError("its input is no feature map")
        return value

    def require(self, **expected: Any) -> None:
        """Refuse attributes that have other values than those."""
        for name, value in expected.items():
            if self.attributes.get(name, value) != value:
                raise UnsupportedError(f"{name} is {self.attributes[name]}, where {value} is supported")


def plain(value: Union[Image, Vector]) -> Any:
    """Return the tensor of a value with ONNX's axes, but for those of a feature map of one position."""
    if isinstance(value, Vector) or value.tensor.shape[1:3] == (1, 1):
        return value.tensor
    return tf.keras.layers.Permute((3, 1, 2))(value.tensor)


def same_kind(value: Union[Image, Vector], tensor: Any) -> Value:
    """Return a tensor as a value with the axes of another."""
    return Image(tensor) if isinstance(value, Image) else Vector(tensor)


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
    tensor, axes = node.image().tensor, node.constant(1, "axes")
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
    order, value = node.attributes.get("perm"), node.inputs[0]
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
    pads, number, value = node.constant(1, "pads"), node.constant(2, "value"), node.tensor()
    mode = node.attributes.get("mode", "constant")
    if pads is not None and isinstance(value, Vector) and len(value.tensor.shape) == 4:
        pads = pads[[0, 3, 1, 2, 4, 7, 5, 6]]
    if pads is None or len(pads) != 8 or any(pads[[0, 1, 4, 5]]) or mode != "constant" or (number or 0) != 0:
        raise UnsupportedError("with anything but zeros around the image")
    _, _, top, left, _, _, bottom, right = pads.tolist()
    return same_kind(value, _L.ZeroPadding2D(((top, bottom), (left, right)), name=node.name)(value.tensor))


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
    return np.array([0, sides[3], sides[1], sides[2]] if isinstance(value, Image) else [0, *sides[1:]], np.int64)


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
