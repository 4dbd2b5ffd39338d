"""ONNX files in int8, quantized by onnxruntime."""

import logging
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.runtimes.calibration import check_calibration, last_operations
from ddl_tf.runtimes.embedders import COMPUTES_KEY
from ddl_tf.runtimes.onnx import onnx_network


def write_onnx_int8(
    model: tf.keras.Model, path: Path, calibration: Optional[np.ndarray] = None, flip: bool = False
) -> None:
    """Write an embedding model as an ONNX network in int8, with the input and output of `write_onnx`.

    The convolutions of images compute in int8, in ranges that the calibration images set. Depthwise and grouped ones,
    all other operations, the embedding neck and the normalisation are float32: a depthwise one has a range of its own
    in each channel, and int8 made it slower. Weights have seven bits of the eight: with all of them, sums overflow on a
    CPU without VNNI, and embeddings depend on the CPU.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        path: the file, ending in `.onnx`; it is either whole or not there.
        calibration: uint8 `[n, height, width, 3]`, images like those that will be embedded.
        flip: whether to add the embedding of the mirrored image, at twice the cost.

    Raises:
        InputError: if a package is not installed, calibration images are missing or do not fit, or the model cannot be
            converted.

    References:
        https://onnxruntime.ai/docs/performance/model-optimizations/quantization.html
    """
    images = check_calibration(calibration, model)
    try:
        from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
    except ImportError as error:
        raise InputError(f"{path}: to quantize ONNX files takes {error.name}; pip install onnxruntime") from None

    class Reader(CalibrationDataReader):
        """One image after the other."""

        def __init__(self) -> None:
            self._images: Iterator[np.ndarray] = iter(images)

        def get_next(self) -> Optional[dict[str, np.ndarray]]:
            for image in self._images:
                return {"image": image[np.newaxis].astype(np.float32).transpose(0, 3, 1, 2)}
            return None

    network = onnx_network(model, path, flip)
    network.metadata_props.add(key=COMPUTES_KEY, value="int8, the rest in float32")
    in_float = last_operations(_operations(network), path)
    in_float += [node.name for node in network.graph.node if _groups(node) > 1]
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)  # it recommends a preparation that would not change these networks
    try:
        with write_aside(Path(path)) as aside, tempfile.TemporaryDirectory() as folder:
            source = Path(folder) / "float.onnx"
            source.write_bytes(network.SerializeToString())
            quantize_static(
                str(source),
                str(aside),
                Reader(),
                quant_format=QuantFormat.QDQ,
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
                op_types_to_quantize=["Conv"],
                nodes_to_exclude=in_float,
            )
    except (RuntimeError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{path}: onnxruntime cannot quantize the model ({error}); use another format") from None
    finally:
        logging.disable(before)


def _groups(node: Any) -> int:
    return next((attribute.i for attribute in node.attribute if attribute.name == "group"), 1)


def _operations(network: Any) -> list[tuple[str, list[str], bool]]:
    import onnx

    graph = onnx.shape_inference.infer_shapes(network).graph
    sides = {
        value.name: [side.dim_value for side in value.type.tensor_type.shape.dim[2:]] for value in graph.value_info
    }
    maker = {result: node.name for node in graph.node for result in node.output}
    return [
        (
            node.name,
            [maker[source] for source in node.input if source in maker],
            node.op_type == "Conv" and _groups(node) == 1 and max(sides.get(node.output[0], [0])) != 1,
        )
        for node in graph.node
    ]
