"""Embedding models as ONNX files, for onnxruntime and InsightFace's tools, and as TensorFlow Lite files, for phones."""

import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.models.image_size import image_size
from ddl_tf.runtimes.embedders import MEAN_KEY, SCALE_KEY, quiet_stderr

# Every onnxruntime since 2020 knows it.
OPSET = 13
PRECISIONS = ("float32", "float16", "dynamic", "int8")
# In int8 every value of a unit embedding would be a multiple of 1/128, where most are below 1/20.
_KEPT_IN_FLOAT = ["L2_NORMALIZATION"]


def _unit_embedding(model: tf.keras.Model, flip: bool) -> Any:
    """Trace the inference of a model, which must outlive it: `image` -> `embedding` `[batch, dim]` of unit norm.

    With `flip` the embedding of the mirrored image is added.
    """
    height, width = image_size(model)

    @tf.function(input_signature=[tf.TensorSpec([None, height, width, 3], tf.float32, "image")])
    def embed(image: tf.Tensor) -> dict[str, tf.Tensor]:
        views = [image, image[:, :, ::-1]] if flip else [image]
        embeddings = [tf.cast(model(view, training=False), tf.float32) for view in views]
        # A sum of one would be an operation more.
        embedding = tf.add_n(embeddings) if flip else embeddings[0]
        return {"embedding": tf.math.l2_normalize(embedding, axis=1)}

    return embed.get_concrete_function()


def _in_float32(model: tf.keras.Model) -> tf.keras.Model:
    """Copy a model that was trained in half precision, whose operations other runtimes lack, to compute in float32."""
    if all(layer.compute_dtype in ("float32", None) for layer in model._flatten_layers()):
        return model

    def plain(value: Any) -> Any:
        if isinstance(value, dict):
            is_policy = value.get("class_name") == "Policy"
            return "float32" if is_policy else {key: plain(item) for key, item in value.items()}
        if isinstance(value, (list, tuple)):
            return type(value)(map(plain, value))
        return "float32" if value in ("mixed_float16", "mixed_bfloat16") else value

    copy = type(model).from_config(plain(model.get_config()))
    copy.set_weights(model.get_weights())
    return copy


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
    try:
        import onnx
        import tf2onnx
    except ImportError as error:
        raise InputError(f"{path}: to write ONNX files takes {error.name}; pip install tf2onnx onnx") from None
    model = _in_float32(model)
    function = _unit_embedding(model, flip)
    logging.getLogger("tf2onnx").setLevel(logging.CRITICAL)
    try:
        image = tf.TensorSpec(function.inputs[0].shape, tf.float32, "image")
        network, _ = tf2onnx.convert.from_function(
            tf.function(function), [image], opset=OPSET, inputs_as_nchw=["image:0"]
        )
        _tell_insightface(network.graph)
        for tensor in (network.graph.input[0], network.graph.output[0]):
            tensor.type.tensor_type.shape.dim[0].dim_param = "batch"
        onnx.helper.set_model_props(network, {MEAN_KEY: "0", SCALE_KEY: "1"})
        onnx.checker.check_model(network)
    except Exception as error:  # of whatever kind the part of tf2onnx raises that meets what it does not know
        raise InputError(f"{path}: tf2onnx cannot convert the model ({error}); use another backbone") from None
    with write_aside(Path(path)) as aside:
        aside.write_bytes(network.SerializeToString())


def _tell_insightface(graph: Any) -> None:
    """Begin with a subtraction of 0 named "Sub" and a multiplication by 1 named "Mul", for `ArcFaceONNX`."""
    from onnx import helper, numpy_helper

    for node in graph.node:
        node.input[:] = ["pixels" if name == "image" else name for name in node.input]
    graph.node.insert(0, helper.make_node("Sub", ["image", "zero"], ["image_minus_zero"], name="Sub"))
    graph.node.insert(1, helper.make_node("Mul", ["image_minus_zero", "one"], ["pixels"], name="Mul"))
    for name, value in (("zero", 0), ("one", 1)):
        graph.initializer.append(numpy_helper.from_array(np.array(value, np.float32), name))


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
        InputError: if there is no such precision, calibration images are missing or do not fit, or the converter cannot
            convert the model.

    References:
        https://ai.google.dev/edge/litert/models/post_training_quantization
    """
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    model = _in_float32(model)
    function = _unit_embedding(model, flip)
    # The weights without the layers, each of which the converter would trace and save.
    variables = tf.Module()
    variables.weights = model.weights
    converter = tf.lite.TFLiteConverter.from_concrete_functions([function], variables)
    if precision != "float32":
        converter.optimizations = [tf.lite.Optimize.DEFAULT]
    if precision == "float16":
        converter.target_spec.supported_types = [tf.float16]
    if precision == "int8":
        converter.representative_dataset = _calibration(calibration, function.inputs[0].shape)
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


def _calibration(images: Optional[np.ndarray], shape: tf.TensorShape) -> Any:
    if images is None or not len(images):
        raise InputError("int8 without calibration images, which set the ranges of its activations; give some")
    if images.dtype != np.uint8 or list(images.shape[1:]) != shape[1:].as_list():
        kind = f"{images.dtype} {list(images.shape)}"
        raise InputError(f"calibration images {kind}: the model takes uint8 {['n', *shape[1:]]}")
    # With a black and a white pixel the input's range is 0..255, and quantization leaves pixels as they are.
    first = images[:1].copy()
    first[0, 0, :2] = [[0] * 3, [255] * 3]

    def dataset() -> Iterator[list[np.ndarray]]:
        for image in (*first, *images[1:]):
            yield [image[np.newaxis].astype(np.float32)]

    return dataset
