"""The files that `python -m ddl_tf.convert` writes: what writes each, and what embeds by it."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.runtimes.embedders import Embedder, OnnxEmbedder, TfliteEmbedder
from ddl_tf.runtimes.formats import CALIBRATED
from ddl_tf.runtimes.onnx import write_onnx
from ddl_tf.runtimes.onnx_int8 import write_onnx_int8
from ddl_tf.runtimes.openvino import write_openvino
from ddl_tf.runtimes.openvino_embedder import OpenvinoEmbedder
from ddl_tf.runtimes.tflite import write_tflite


class Format(NamedTuple):
    """A kind of file; `computes` says in which numbers.

    `write` takes a model and a path, the `arguments`, `flip`, and calibration images if its name is in `CALIBRATED`.
    """

    file: str
    write: Callable[..., None]
    embedder: Callable[..., Embedder]
    computes: str
    arguments: dict[str, Any]


def _tflite(precision: str, computes: str) -> Format:
    file, arguments = f"model_{precision}.tflite", {"precision": precision}
    return Format(file, write_tflite, TfliteEmbedder, computes, arguments)


def _openvino(precision: str, file: str, computes: str) -> Format:
    return Format(file, write_openvino, OpenvinoEmbedder, computes, {"precision": precision})


KINDS = {
    "onnx": Format("model.onnx", write_onnx, OnnxEmbedder, "float32", {}),
    "onnx_int8": Format(
        "model_int8.onnx", write_onnx_int8, OnnxEmbedder, "int8 in plain convolutions, else float32", {}
    ),
    "openvino": _openvino("float32", "model.xml", "float32"),
    "openvino_bfloat16": _openvino("bfloat16", "model_bfloat16.xml", "bfloat16"),
    "openvino_int8": _openvino("int8", "model_int8.xml", "int8 up to the last convolution, then float32"),
    "tflite_float32": _tflite("float32", "float32"),
    "tflite_float16": _tflite("float16", "float32, of float16 weights"),
    "tflite_dynamic": _tflite("dynamic", "float32, of int8 weights"),
    "tflite_int8": _tflite("int8", "int8, the normalisation float32"),
}


def write_format(
    model: tf.keras.Model, folder: Path, format: str, calibration: Optional[np.ndarray] = None, flip: bool = False
) -> Path:
    """Write an embedding model in one of `KINDS`."""
    kind = KINDS[format]
    images = {"calibration": calibration} if format in CALIBRATED else {}
    kind.write(model, folder / kind.file, flip=flip, **kind.arguments, **images)
    return folder / kind.file


def file_size(path: Path) -> int:
    """Count the bytes of a file, and of the weights beside it that belong to it."""
    weights = path.with_suffix(".bin")
    return path.stat().st_size + (weights.stat().st_size if path.suffix == ".xml" else 0)
