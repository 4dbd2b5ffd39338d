"""TensorFlow Lite files of embedding models, for phones, in four precisions."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.keras_version import tf_variable
from ddl_tf.runtimes.calibration import check_calibration
from ddl_tf.runtimes.embedders import quiet_stderr
from ddl_tf.runtimes.formats import PRECISIONS
from ddl_tf.runtimes.unit_embedding import in_float32, unit_embedding

# In int8 every value of a unit embedding would be a multiple of 1/128, where most are below 1/20.
_KEPT_IN_FLOAT = ["L2_NORMALIZATION"]


def write_tflite(
    model: tf.keras.Model,
    path: Path,
    precision: str = "float32",
    calibration: Optional[np.ndarray] = None,
    flip: bool = False,
) -> None:
    """Write an embedding model for TensorFlow Lite.

    In every precision the input is `image`, float32 `[batch, height, width, 3]`, RGB values 0..255, and the output
    `embedding`, float32 `[batch, dim]` of unit norm. An interpreter has a batch of 1 until its input is resized.

    - float32: what the model computes.
    - float16: half the size; the weights are float16; a CPU computes in float32, a GPU in float16.
    - dynamic: a quarter of the size; the weights are int8, activations are quantized on the fly, image by image.
    - int8: a quarter of the size; weights and activations are int8, in ranges that the calibration images set. The
      normalisation at the end stays in float32.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        path: the file, ending in `.tflite`; it is either whole or not there.
        precision: one of `PRECISIONS`.
        calibration: for int8: uint8 `[n, height, width, 3]`, images like those that will be embedded.
        flip: whether to add the embedding of the mirrored image, at twice the cost.

    Raises:
        InputError: if there is no such precision, calibration images are missing or do not fit, TensorFlow has no
            converter, or it cannot convert the model.

    References:
        https://ai.google.dev/edge/litert/models/post_training_quantization
    """
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    if not hasattr(tf, "lite"):
        raise InputError(f"{path}: TensorFlow {tf.__version__} has no converter to TensorFlow Lite: use 2.21")
    model = in_float32(model)
    function = unit_embedding(model, flip)
    # The weights without the layers, each of which the converter would trace and save.
    variables = tf.Module()
    variables.weights = [tf_variable(weight) for weight in model.weights]
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], variables)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = _calibration(check_calibration(calibration, model))
    try:
        with quiet_stderr():
            if precision == "int8":
                # The converter itself has no setting for operations that stay in float.
                options = tf.lite.experimental.QuantizationDebugOptions(denylisted_ops=_KEPT_IN_FLOAT)
                debugger = tf.lite.experimental.QuantizationDebugger(converter=converter, debug_options=options)
                content = debugger.get_nondebug_quantized_model()
            else:
                content = converter.convert()
    except Exception as error:  # whatever the part of the converter raises that meets what it does not know
        lines = str(error).strip().splitlines() or [type(error).__name__]
        reason = next((line for line in lines if "error:" in line), lines[0])
        raise InputError(f"{path}: TensorFlow Lite cannot convert the model ({reason}); use another backbone") from None
    with write_aside(Path(path)) as aside:
        aside.write_bytes(content)


def _calibration(images: np.ndarray) -> Any:
    # With a black and a white pixel the input's range is 0..255, and quantization leaves pixels as they are.
    first = images[:1].copy()
    first[0, 0, :2] = [[0] * 3, [255] * 3]

    def dataset() -> Iterator[list[np.ndarray]]:
        for image in (*first, *images[1:]):
            yield [image[np.newaxis].astype(np.float32)]

    return dataset
