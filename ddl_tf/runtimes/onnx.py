"""ONNX files of embedding models, to run by onnxruntime and by InsightFace's tools.

tf2onnx makes the graph. Its PReLU, in five operations, stays as it is: onnxruntime's own PRelu takes longer. A grouped
convolution is one operation, which onnxruntime computes much faster than the three of TensorFlow's CPUs.
"""

import contextlib
import gc
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.layers.grouped_convolution import as_one_operation
from ddl_tf.models.onnx_network import with_prelus
from ddl_tf.runtimes.embedders import MEAN_KEY, SCALE_KEY
from ddl_tf.runtimes.unit_embedding import in_float32, unit_embedding

# Every onnxruntime since 2020 knows it.
OPSET = 13


def write_onnx(model: tf.keras.Model, path: Path, flip: bool = False) -> None:
    """Write an embedding model as an ONNX network.

    Its input is `image`, float32 `[batch, 3, height, width]`, RGB values 0..255: channels first, as InsightFace's
    networks have it. Its output is `embedding`, float32 `[batch, dim]` of unit norm. InsightFace's `ArcFaceONNX` takes
    the file as it is: the names of its first nodes say that the scaling of the pixels is inside.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        path: the file, ending in `.onnx`; it is either whole or not there.
        flip: whether to add the embedding of the mirrored image, at twice the cost.

    Raises:
        InputError: if tf2onnx is not installed, or it cannot convert the model.

    References:
        https://github.com/deepinsight/insightface, python-package/insightface/model_zoo/arcface_onnx.py
    """
    network = onnx_network(model, path, flip)
    with write_aside(Path(path)) as aside:
        aside.write_bytes(network.SerializeToString())


def onnx_network(model: tf.keras.Model, path: Path, flip: bool = False) -> Any:
    """Make the network that `write_onnx` writes, an `onnx.ModelProto`; errors name the path."""
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise InputError(f"{path}: to write ONNX files takes {error.name}; pip install tf2onnx onnx") from None
    model = in_float32(model)
    with as_one_operation(model):
        function = unit_embedding(model, flip)
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    try:
        with _collecting_early():
            network, _ = tf2onnx.convert.from_function(
                tf.function(function),
                [tf.TensorSpec(function.inputs[0].shape, tf.float32, "image")],
                opset=OPSET,
                inputs_as_nchw=["image:0"],
            )
        _tell_insightface(network.graph)
        for tensor in (network.graph.input[0], network.graph.output[0]):
            tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.helper.set_model_props(network, {MEAN_KEY: "0", SCALE_KEY: "1"})
        onnx.checker.check_model(network)
    except Exception as error:  # of whatever kind the part of tf2onnx raises that meets what it does not know
        raise InputError(f"{path}: tf2onnx cannot convert the model ({error}); use another backbone") from None
    return network


@contextlib.contextmanager
def _collecting_early() -> Iterator[None]:
    """Collect garbage early: each of tf2onnx's optimizers leaves a copy of all weights, which Python counts as few.

    For iresnet50 that is 8 GB at most instead of 18.
    """
    thresholds = gc.get_threshold()
    is_first = gc.get_freeze_count() == 0
    if is_first:
        gc.collect()
        # What is there already, all of TensorFlow, need not be looked through each time.
        gc.freeze()
        gc.set_threshold(5000, 2, 2)
    try:
        yield
    finally:
        if is_first:
            gc.set_threshold(*thresholds)
            gc.unfreeze()


def merge_prelus(network: Any) -> None:
    """Make each PReLU of an `onnx.ModelProto` one operation, for runtimes that join it to the convolution before it."""
    from onnx import numpy_helper

    graph = network.graph
    nodes = with_prelus(graph, {tensor.name: numpy_helper.to_array(tensor) for tensor in graph.initializer})
    used = {name for node in nodes for name in node.input}
    weights = [tensor for tensor in graph.initializer if tensor.name in used]
    for field, kept in ((graph.node, nodes), (graph.initializer, weights)):
        del field[:]
        field.extend(kept)


def _tell_insightface(graph: Any) -> None:
    """Begin with a subtraction of 0 named "Sub" and a multiplication by 1 named "Mul", for `ArcFaceONNX`."""
    from onnx import helper, numpy_helper

    for node in graph.node:
        node.input[:] = ["pixels" if name == "image" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Sub", ["image", "zero"], ["image_minus_zero"], name="Sub"))
    graph.node.insert(1, helper.make_node("Mul", ["image_minus_zero", "one"], ["pixels"], name="Mul"))
    for name, value in (("zero", 0), ("one", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))
