"""Networks in ONNX files as Keras models whose weights train."""

import itertools
import math
import os
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.models.onnx_layers import OPERATIONS
from ddl_tf.models.onnx_node import Image, Node, UnsupportedError, Value, Vector

# Of one face; larger ones are no face network's.
_MOST_PIXELS = 2048
# The opset of which a node is evaluated alone.
_OPSET = 17
# What may be computed from constants alone: a stranger's file could fill the memory with others.
_ARRANGING = (
    *("Cast", "Concat", "Constant", "Identity", "Neg", "Reshape", "Slice"),
    *("Sqrt", "Squeeze", "Transpose", "Unsqueeze"),
)


def _layer_name(node: Any, number: int, taken: set[str]) -> str:
    """Name a layer as the node is named; exporters write the path of the module there."""
    name = re.sub(r"[^A-Za-z0-9_.-]+", ".", node.name).strip("._-") or f"{node.op_type.lower()}_{number}"
    while name in taken:
        name += "_"
    taken.add(name)
    return name


def _evaluated(onnx: Any, node: Any, inputs: Sequence[Optional[np.ndarray]], opset: int) -> list[np.ndarray]:
    """Compute a node that depends on constants alone, and gives no more numbers than it gets."""
    arrays = [value for value in inputs if value is not None]
    if node.op_type in ("Add", "Div", "Mul", "Pow", "Sub"):
        items = math.prod(np.broadcast_shapes(*(array.shape for array in arrays)))
    elif node.op_type == "Gather":
        items = arrays[1].size * max(arrays[0].shape, default=1) ** (arrays[0].ndim - 1)
    elif node.op_type in _ARRANGING:
        items = 0
    else:
        raise UnsupportedError("of constants alone")
    if items > sum(array.size for array in arrays):
        raise UnsupportedError(f"of constants alone, {items:,} numbers from few")
    given = {name: value for name, value in zip(node.input, inputs) if value is not None}
    ends = ([onnx.helper.make_tensor_value_info(name, 0, None) for name in names] for names in (given, node.output))
    graph = onnx.helper.make_graph([node], "constant", *ends)
    model = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", opset)])
    try:
        return onnx.reference.ReferenceEvaluator(model).run(None, given)
    except Exception as error:  # of whatever kind the evaluator of the operation raises
        raise UnsupportedError(f"of constants alone, which cannot be computed ({error})") from None


def _input_shape(path: str, shape: Sequence[Any], image_size: int) -> tuple[tuple[int, int, int], bool]:
    """`(height, width, channels)`, and whether the channels come first in the file."""
    sides = [side.dim_value if side.HasField("dim_value") and side.dim_value > 0 else None for side in shape]
    channel_axes = [axis for axis in (1, 3) if len(sides) == 4 and sides[axis] == 3]
    if len(channel_axes) != 1:
        expected = "[batch, 3, height, width] or [batch, height, width, 3]"
        raise InputError(f"{path}: takes a tensor of shape {sides}, where {expected} is expected")
    first = channel_axes == [1]
    height, width = (side or image_size for side in (sides[2:] if first else sides[1:3]))
    if max(height, width) > _MOST_PIXELS:
        raise InputError(f"{path}: takes images of {height} x {width} pixels, where {_MOST_PIXELS} is the most")
    return (height, width, 3), first


def read_onnx_network(path: Union[str, "os.PathLike[str]"], image_size: int = 112) -> tf.keras.Model:
    """Turn an ONNX network into a Keras model.

    Each operation becomes one or few layers of Keras, named as the node is. Weights can be trained, and batch
    normalisation is a layer as long as the exporter did not fold it into the convolutions.

    Args:
        path: the `.onnx` file, with its weights inside. Its input is `[batch, 3, height, width]` or `[batch, height,
            width, 3]`; of several outputs the first counts.
        image_size: height and width in pixels, where the file leaves them open.

    Returns:
        image `[batch, height, width, 3]`, scaled as the network wants it -> its output, `[batch, dim]`.

    Raises:
        InputError: if the file cannot be read, or has an operation that no layer stands for.
    """
    try:
        import onnx
        import onnx.reference
    except ImportError:
        raise InputError("ONNX networks are converted with the package onnx: pip install onnx") from None
    text = os.fspath(path)
    require_regular_file(text)
    try:
        model = onnx.load(text, load_external_data=False)
        onnx.checker.check_model(model)
        graph = model.graph
        names_in_file = [name for node in graph.node for name in (node.name, node.op_type, *node.input, *node.output)]
        if not all(isinstance(name, str) for name in names_in_file) or not graph.output:
            raise ValueError("a name is no UTF-8, or there is no output")
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in graph.initializer}
    except Exception as error:  # onnx has many kinds of its own, without a common one
        reason = " ".join(str(error).split())[:200]
        raise InputError(f"{text}: cannot be read as an ONNX network ({reason}); export the network again") from None
    values: dict[str, Value] = dict(constants)
    inputs = [tensor for tensor in graph.input if tensor.name not in constants]
    if len(inputs) != 1:
        raise InputError(f"{text}: has the inputs {[tensor.name for tensor in inputs]}, where one image is expected")
    shape, channels_first = _input_shape(text, inputs[0].type.tensor_type.shape.dim, image_size)
    image = tf.keras.Input(shape, name="image")
    values[inputs[0].name] = Image(image) if channels_first else Vector(image)
    opsets = [imported.version for imported in model.opset_import if imported.domain in ("", "ai.onnx")]
    names: set[str] = {"image"}
    for number, proto in enumerate(with_prelus(graph, constants)):
        attributes = {item.name: onnx.helper.get_attribute_value(item) for item in proto.attribute}
        attributes = {name: value.decode() if isinstance(value, bytes) else value for name, value in attributes.items()}
        operands = [values.get(name) if name else None for name in proto.input]
        node = Node(proto.op_type, _layer_name(proto, number, names), operands, attributes)
        try:
            outputs = _outputs(onnx, node, proto, max(opsets, default=_OPSET))
        except UnsupportedError as error:
            operation = f"{proto.op_type} ({proto.name or proto.output[0]})"
            raise InputError(f"{text}: the operation {operation} has no layer of Keras here: {error}") from None
        values.update(zip(proto.output, outputs))
    output = values.get(graph.output[0].name)
    if not isinstance(output, (Image, Vector)) or output.tensor.shape[1:-1] not in ((), (1, 1)):
        raise InputError(f"{text}: its first output is no embedding, [batch, dim]")
    tensor = output.tensor if isinstance(output, Vector) else tf.keras.layers.Flatten()(output.tensor)
    return tf.keras.Model(image, tensor, name="backbone")


def with_prelus(graph: Any, constants: Mapping[str, np.ndarray]) -> list[Any]:
    """List a graph's nodes with one PRelu in the place of relu(x) - slope relu(-x), as tf2onnx writes Keras's."""
    import onnx

    makers = {name: node for node in graph.node for name in node.output}
    uses = Counter(name for node in graph.node for name in node.input) + Counter(value.name for value in graph.output)

    def operands(name: str, kind: str) -> Sequence[str]:
        """The inputs of what makes a value, where that is of the kind, and the value goes nowhere else."""
        node = makers.get(name)
        return node.input if node is not None and node.op_type == kind and uses[name] == 1 else ()

    changed, gone = {}, set()
    for node in graph.node:
        for positive, scaled in itertools.permutations(node.input, 2) if node.op_type in ("Add", "Sub") else ():
            for negative, slope in itertools.permutations(operands(scaled, "Mul"), 2):
                minus = operands(negative, "Relu")
                x = operands(minus[0], "Neg") if minus else ()
                value = constants.get(slope, np.zeros([0]))
                is_of_channels = value.size == 1 or (value.ndim > 2 and value.shape[-2:] == (1, 1))
                is_scaled_last = node.op_type == "Add" or scaled == node.input[1]
                if x and list(x) == list(operands(positive, "Relu")) and is_of_channels and is_scaled_last:
                    slopes = onnx.numpy_helper.from_array(value if node.op_type == "Sub" else -value)
                    constant = onnx.helper.make_node("Constant", [], [f"{node.output[0]}/slope"], value=slopes)
                    prelu = onnx.helper.make_node("PRelu", [x[0], constant.output[0]], node.output, node.name)
                    changed[node.output[0]] = [constant, prelu]
                    gone |= {positive, scaled, negative, minus[0]}
    parts = [changed.get(node.output[0], [node]) for node in graph.node if not gone.intersection(node.output)]
    return [node for part in parts for node in part]


def _outputs(onnx: Any, node: Node, proto: Any, opset: int) -> list[Value]:
    if all(value is None or isinstance(value, np.ndarray) for value in node.inputs):
        return list(_evaluated(onnx, proto, node.inputs, opset))  # type: ignore[arg-type]
    if proto.op_type not in OPERATIONS or proto.domain not in ("", "ai.onnx"):
        raise UnsupportedError(f"the usual ones are {', '.join(sorted(OPERATIONS))}")
    try:
        return [OPERATIONS[proto.op_type](node)]
    except UnsupportedError:
        raise
    except (KeyError, IndexError, TypeError, ValueError) as error:
        raise UnsupportedError(f"it is described wrongly ({error!r})") from None


def convert_onnx(
    path: Union[str, "os.PathLike[str]"],
    mean: float = 127.5,
    scale: float = 127.5,
    order: str = "rgb",
    image_size: int = 112,
) -> tf.keras.Model:
    """Turn a trained ONNX network into an embedding model, to evaluate, export or fine-tune.

    Each operation becomes one or few layers of Keras, named as the node is. Weights can be trained, and batch
    normalisation is a layer as long as the exporter did not fold it into the convolutions.

    Args:
        path: the `.onnx` file, with its weights inside. Its input is `[batch, 3, height, width]` or `[batch, height,
            width, 3]`; of several outputs the first counts.
        mean: the network's input is (value - mean) / scale, of values 0..255; see `OnnxEmbedder`.
        scale: see `mean`; not 0.
        order: of the channels that the network takes, "rgb" or "bgr".
        image_size: height and width in pixels, where the file leaves them open.

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, the network's own output. Its
        layers "backbone" and "neck" are the parts; the neck does nothing, as the embedding is finished.

    Raises:
        InputError: if the file cannot be read, has an operation that no layer stands for, or there is no such order or
            scale.

    Example:
        >>> convert_onnx("w600k_r50.onnx")  # doctest: +SKIP
        <keras.src.engine.functional.Functional object>
    """
    if order not in ("rgb", "bgr") or not scale or not np.isfinite([mean, scale]).all():
        raise InputError(f"order {order!r}, mean {mean}, scale {scale}: give rgb or bgr, numbers, and a scale not 0")
    network = read_onnx_network(path, image_size)
    image = tf.keras.Input(network.input_shape[1:], name="image")
    if order == "rgb":
        scaled = tf.keras.layers.Rescaling(1 / scale, -mean / scale, dtype="float32", name="scaling")(image)
    else:
        # A convolution that turns the channels round; no layer of Keras does.
        layer = tf.keras.layers.Conv2D(3, 1, dtype="float32", name="scaling", trainable=False)
        scaled = layer(image)
        layer.set_weights(
            [np.eye(3, dtype=np.float32)[None, None, ::-1] / scale, np.full(3, -mean / scale, np.float32)]
        )
    neck = tf.keras.layers.Activation("linear", name="neck")(network(scaled))
    embedding = tf.keras.layers.Activation("linear", dtype="float32", name="embedding")(neck)
    return tf.keras.Model(image, embedding, name="embedding_model")
