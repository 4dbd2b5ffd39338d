"""The values between the operations of an ONNX network, and one operation with its inputs.

ONNX has images as `[batch, channels, height, width]`, Keras as `[batch, height, width, channels]`: an `Image` stands
for the former and holds the latter.
"""

from typing import Any, NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf


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

    def value(self, position: int) -> Optional[Value]:
        """Return an input, None if it is left out."""
        return self.inputs[position] if position < len(self.inputs) else None

    def constant(self, position: int, attribute: str = "") -> Optional[np.ndarray]:
        """Return an input that is known, or the attribute that older files have in its place."""
        value = self.value(position)
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

    def tensor(self, position: int = 0) -> Union[Image, Vector]:
        """Return an input that is computed from the image."""
        value = self.value(position)
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
