"""TensorFlow.js graph models as ONNX networks."""

import logging
from pathlib import Path

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.runtimes.onnx import OPSET
from ddl_tf.runtimes.tfjs_graph import read_tfjs_graph


def write_tfjs_as_onnx(path: Path, output: Path) -> None:
    """Write the network of a `model.json` and its weight files as ONNX; an InputError if tf2onnx cannot convert it."""
    try:
        import tf2onnx
    except ImportError as error:
        raise InputError(f"{path}: to read a graph model takes {error.name}; pip install tf2onnx onnx") from None
    graph, image, embedding = read_tfjs_graph(path)
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    try:
        network, _ = tf2onnx.convert.from_graph_def(
            graph,
            input_names=[f"{image}:0"],
            output_names=[f"{embedding}:0"],
            opset=OPSET,
            inputs_as_nchw=[f"{image}:0"],
        )
    except Exception as error:  # of whatever kind the part of tf2onnx raises that meets what it does not know
        raise InputError(f"{path}: tf2onnx cannot convert the graph model ({error})") from None
    with write_aside(output) as aside:
        aside.write_bytes(network.SerializeToString())
