"""The Keras layer, or few layers, of each operation of an ONNX network."""

from collections.abc import Callable, Sequence
from typing import Any, Optional, Union

import numpy as np
import tensorflow as tf

from ddl_tf.layers import GroupedConvolution
from ddl_tf.layers.layer_calls import layer_of
from ddl_tf.models.onnx_node import (
    SHAPE_OPERATIONS,
    Image,
    Node,
    Norm,
    UnsupportedError,
    Value,
    Vector,
    plain,
    same_kind,
)

_L = tf.keras.layers


def _weighted(layer: tf.keras.layers.Layer, tensor: Any, *weights: np.ndarray) -> Any:
    """Apply a new layer that has these weights, in the order of `layer.weights`."""
    output = layer(tensor)
    layer.set_weights([np.asarray(weight, np.float32) for weight in weights])
    return output


def _padded(node: Node, image: Image, size: Sequence[int], value: Optional[str] = None) -> tuple[Any, str]:
    """Pad an image as a window of that size wants it: the tensor, and the padding that is left to the layer.

    `value` names what the padding must be, if not 0.
    """
    auto_pad = node.attributes.get("auto_pad", "NOTSET")
    if auto_pad == "SAME_UPPER":
        return image.tensor, "same"
    top, left, bottom, right = node.attributes.get("pads", [0, 0, 0, 0]) if auto_pad == "NOTSET" else [0, 0, 0, 0]
    if auto_pad not in ("NOTSET", "VALID"):
        raise UnsupportedError(f"auto_pad is {auto_pad}")
    if node.attributes.get("ceil_mode"):
        raise UnsupportedError("ceil_mode is set")
    if not any((top, left, bottom, right)):
        return image.tensor, "valid"
    if value:
        raise UnsupportedError(f"it pads with {value}")
    return _L.ZeroPadding2D(((top, bottom), (left, right)), name=f"{node.name}_padding")(image.tensor), "valid"


def _convolution(node: Node) -> Value:
    image, kernel, bias = node.image(), node.weight(1), node.constant(2)
    if kernel.ndim != 4:
        raise UnsupportedError("its kernel is not of two dimensions")
    outputs, inputs, *size = kernel.shape
    groups, channels = node.attributes.get("group", 1), image.tensor.shape[-1]
    strides, dilations = (node.attributes.get(name, [1, 1]) for name in ("strides", "dilations"))
    weights = [] if bias is None else [bias]
    common: dict[str, Any] = {"use_bias": bool(weights), "name": node.name}
    tensor, padding = _padded(node, image, size)
    if groups == channels and groups > 1:
        if strides[0] != strides[1]:
            raise UnsupportedError(f"a depthwise convolution with the strides {strides}")
        layer = _L.DepthwiseConv2D(size, strides, padding, outputs // groups, dilation_rate=dilations, **common)
        by_channel = kernel.reshape(groups, outputs // groups, *size).transpose(2, 3, 0, 1)
        return Image(_weighted(layer, tensor, by_channel, *weights))
    if groups > 1:
        if strides[0] != strides[1] or size[0] != size[1] or dilations != [1, 1]:
            raise UnsupportedError("a grouped convolution that is not square, or dilated")
        layer = GroupedConvolution(groups, size[0], filters=outputs, strides=strides[0], padding=padding, **common)
        # [group * out, in, height, width] -> [height, width, group * in, out]
        by_group = kernel.reshape(groups, outputs // groups, inputs, *size).transpose(3, 4, 0, 2, 1)
        return Image(_weighted(layer, tensor, by_group.reshape(*size, channels, outputs // groups), *weights))
    layer = _L.Conv2D(outputs, size, strides, padding, dilation_rate=dilations, **common)
    return Image(_weighted(layer, tensor, kernel.transpose(2, 3, 1, 0), *weights))


def _batch_normalization(node: Node) -> Value:
    statistics = [node.weight(position) for position in (1, 2, 3, 4)]
    node.require(training_mode=0)
    layer = _L.BatchNormalization(
        epsilon=node.attributes.get("epsilon", 1e-5), momentum=node.attributes.get("momentum", 0.9), name=node.name
    )
    value = node.tensor()
    if isinstance(value, Image):
        return Image(_weighted(layer, value.tensor, *statistics))
    tensor = plain(value)
    if len(tensor.shape) != 2:
        raise UnsupportedError(f"batch normalisation of a tensor of {len(tensor.shape)} axes")
    return Vector(_weighted(layer, tensor, *statistics))


def _dense(node: Node, kernel: Optional[np.ndarray], bias: Optional[np.ndarray]) -> Value:
    if kernel is None or kernel.ndim != 2:
        raise UnsupportedError("it multiplies by no matrix of weights")
    layer = _L.Dense(kernel.shape[1], use_bias=bias is not None, name=node.name)
    weights = [] if bias is None else [np.broadcast_to(bias.reshape(-1), [kernel.shape[1]])]
    return Vector(_weighted(layer, plain(node.tensor()), kernel, *weights))


def _gemm(node: Node) -> Value:
    node.require(transA=0)
    kernel, bias = node.constant(1), node.constant(2)
    if kernel is not None:
        kernel = (kernel.T if node.attributes.get("transB") else kernel) * node.attributes.get("alpha", 1.0)
    return _dense(node, kernel, None if bias is None else bias * node.attributes.get("beta", 1.0))


def _layer_of(make: Callable[[Node], tf.keras.layers.Layer]) -> Callable[[Node], Value]:
    """An operation that is one layer, whatever the axes."""

    def apply(node: Node) -> Value:
        value = node.tensor()
        return same_kind(value, make(node)(value.tensor))

    return apply


def _prelu(node: Node) -> Value:
    slope, value = node.weight(1), node.tensor()
    channels = value.tensor.shape[-1]
    if slope.size not in (1, channels):
        raise UnsupportedError(f"{slope.size} slopes for {channels} channels")
    shared = [1, 2] if isinstance(value, Image) else None
    layer = _L.PReLU(shared_axes=shared, name=node.name)
    shape = (1, 1, channels) if shared else (channels,)
    return same_kind(value, _weighted(layer, value.tensor, np.broadcast_to(slope.reshape(-1), channels).reshape(shape)))


def _clip(node: Node) -> Value:
    if isinstance(node.inputs[0], Norm):
        return node.inputs[0]
    low, high = node.constant(1, "min"), node.constant(2, "max")
    if low is None or float(low) != 0:
        raise UnsupportedError(f"its lower bound is {low}, where 0 is supported")
    layer = _L.ReLU(None if high is None else float(high), name=node.name)
    return same_kind(node.tensor(), layer(node.tensor().tensor))


def _clipped_line(tensor: Any, alpha: float, beta: float, name: str) -> Any:
    return _L.ReLU(1.0, name=name)(_L.Rescaling(alpha, beta, name=f"{name}_line")(tensor))


def _hard_sigmoid(node: Node) -> Value:
    value, alpha, beta = node.tensor(), node.attributes.get("alpha", 0.2), node.attributes.get("beta", 0.5)
    return same_kind(value, _clipped_line(value.tensor, alpha, beta, node.name))


def _hard_swish(node: Node) -> Value:
    tensor = node.tensor().tensor
    gate = _clipped_line(tensor, 1 / 6, 0.5, f"{node.name}_gate")
    return same_kind(node.tensor(), _L.Multiply(name=node.name)([tensor, gate]))


def _affine(value: Union[Image, Vector], scale: np.ndarray, offset: np.ndarray, name: str) -> Value:
    """`value * scale + offset`: fixed where it scales the image, weights where it has a number for each channel."""
    tensor, channels = value.tensor, value.tensor.shape[-1]
    # How many axes of ONNX follow that of the channels.
    after = 2 if isinstance(value, Image) else 0
    for numbers in (scale, offset):
        sides = (1,) * after + numbers.shape
        if numbers.size > 1 and (numbers.size != channels or sides[len(sides) - after - 1] != channels):
            raise UnsupportedError(f"numbers of shape {list(numbers.shape)} for {channels} channels")
    if scale.size == offset.size == 1:
        return same_kind(value, _L.Rescaling(scale.item(), offset.item(), name=name)(tensor))
    scales, offsets = (np.broadcast_to(numbers.reshape(-1), channels) for numbers in (scale, offset))
    if isinstance(value, Vector) or isinstance(layer_of(tensor), (_L.InputLayer, _L.Rescaling)):
        return same_kind(value, _L.Rescaling(scales.tolist(), offsets.tolist(), name=name)(tensor))
    return Image(_weighted(_L.DepthwiseConv2D(1, name=name), tensor, scales.reshape(1, 1, -1, 1), offsets))


def _arithmetic(node: Node) -> Value:
    first, second = node.inputs[0], node.inputs[1]
    if isinstance(first, (np.ndarray, Norm)) and node.type in ("Add", "Mul"):
        first, second = second, first
    if isinstance(second, Norm):
        return _division_by_norm(node, first, second)
    if isinstance(second, np.ndarray) and isinstance(first, (Image, Vector)):
        number, ones, zeros = second.astype(np.float64), np.ones(1), np.zeros(1)
        if node.type in ("Add", "Sub"):
            return _affine(first, ones, number if node.type == "Add" else -number, node.name)
        return _affine(first, number if node.type == "Mul" else 1 / number, zeros, node.name)
    if node.type == "Mul" and isinstance(first, Vector) and first is second:
        return Norm(first, 2, False)
    layers = {"Add": _L.Add, "Sub": _L.Subtract, "Mul": _L.Multiply}
    if node.type not in layers or not isinstance(first, (Image, Vector)) or type(first) is not type(second):
        raise UnsupportedError("of these two inputs")
    return same_kind(first, layers[node.type](name=node.name)([first.tensor, second.tensor]))


def _division_by_norm(node: Node, first: Optional[Value], norm: Norm) -> Value:
    if node.type == "Add" and isinstance(first, np.ndarray):
        # A small number that keeps the norm from 0.
        return norm
    if node.type == "Div" and isinstance(first, np.ndarray) and first.size == 1 and first.item() == 1:
        return norm._replace(power=-norm.power)
    if first is norm.vector and norm.is_sum and (node.type, norm.power) in (("Div", 1), ("Mul", -1)):
        return Vector(_L.UnitNormalization(name=node.name)(norm.vector.tensor))
    raise UnsupportedError("of a norm and something else than its vector")


def _pool(node: Node) -> Value:
    image, size = node.image(), node.attributes["kernel_shape"]
    strides = node.attributes.get("strides", [1] * len(size))
    node.require(dilations=[1] * len(size))
    if node.type == "MaxPool":
        # Where no value is below 0, it is as good a padding as the smallest number.
        is_positive = isinstance(layer_of(image.tensor), _L.ReLU)
        tensor, padding = _padded(node, image, size, None if is_positive else "the smallest number")
        return Image(_L.MaxPooling2D(size, strides, padding, name=node.name)(tensor))
    halves = [side // 2 for side in (*size, *size)]
    if node.attributes.get("count_include_pad"):
        tensor, padding = _padded(node, image, size)
    elif strides == [1, 1] and all(side % 2 for side in size) and node.attributes.get("pads") == halves:
        # Keras's mean over a window that is padded like this leaves the padding out too.
        tensor, padding = image.tensor, "same"
    else:
        tensor, padding = _padded(node, image, size, "what no mean counts")
    return Image(_L.AveragePooling2D(size, strides, padding, name=node.name)(tensor))


def _mean_of_image(node: Node, keeps: bool) -> Value:
    tensor = _L.GlobalAveragePooling2D(keepdims=keeps, name=node.name)(node.tensor().tensor)
    return same_kind(node.tensor(), tensor) if keeps else Vector(tensor)


def _reduce_mean(node: Node) -> Value:
    axes, value = node.constant(1, "axes"), node.tensor()
    positions = [2, 3] if isinstance(value, Image) else [1, 2]
    if axes is None or sorted(axis % 4 for axis in axes.reshape(-1).tolist()) != positions:
        raise UnsupportedError("a mean over other axes than height and width")
    return _mean_of_image(node, bool(node.attributes.get("keepdims", 1)))


def _norm(node: Node) -> Value:
    axes, value = node.constant(1, "axes"), node.inputs[0]
    vector = value.vector if isinstance(value, Norm) else node.tensor()
    squares = isinstance(value, Norm) and not value.is_sum
    if isinstance(vector, Image) or len(vector.tensor.shape) != 2 or squares != (node.type == "ReduceSum"):
        raise UnsupportedError("of anything but a vector")
    if axes is None or axes.reshape(-1).tolist() not in ([1], [-1]):
        raise UnsupportedError("of other axes than the last")
    return Norm(vector, 2 if squares else 1, True)


def _power_of_norm(node: Node) -> Value:
    norm = node.inputs[0]
    if not isinstance(norm, Norm) or not norm.is_sum:
        raise UnsupportedError("of anything but the norm of a vector")
    return norm._replace(power=norm.power * {"Sqrt": 0.5, "Reciprocal": -1}[node.type])


def _unit_norm(node: Node) -> Value:
    node.require(p=2)
    vector = plain(node.tensor())
    if len(vector.shape) != 2:
        raise UnsupportedError("a norm of other axes than the last")
    return Vector(_L.UnitNormalization(name=node.name)(vector))


OPERATIONS: dict[str, Callable[[Node], Value]] = {
    **SHAPE_OPERATIONS,
    **dict.fromkeys(("Add", "Sub", "Mul", "Div"), _arithmetic),
    **dict.fromkeys(("AveragePool", "MaxPool"), _pool),
    "BatchNormalization": _batch_normalization,
    "Clip": _clip,
    "Conv": _convolution,
    "Elu": _layer_of(lambda node: _L.ELU(node.attributes.get("alpha", 1.0), name=node.name)),
    "Gemm": _gemm,
    "GlobalAveragePool": lambda node: _mean_of_image(node, True),
    "GlobalMaxPool": lambda node: Image(_L.GlobalMaxPooling2D(keepdims=True, name=node.name)(node.image().tensor)),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "LeakyRelu": _layer_of(lambda node: _L.LeakyReLU(node.attributes.get("alpha", 0.01), name=node.name)),
    "LpNormalization": _unit_norm,
    "MatMul": lambda node: _dense(node, node.constant(1), None),
    "Neg": _layer_of(lambda node: _L.Rescaling(-1.0, name=node.name)),
    "PRelu": _prelu,
    **dict.fromkeys(("ReduceL2", "ReduceSum"), _norm),
    **dict.fromkeys(("Reciprocal", "Sqrt"), _power_of_norm),
    "ReduceMean": _reduce_mean,
    "Relu": _layer_of(lambda node: _L.ReLU(name=node.name)),
    "Sigmoid": _layer_of(lambda node: _L.Activation("sigmoid", name=node.name)),
    "Tanh": _layer_of(lambda node: _L.Activation("tanh", name=node.name)),
}
