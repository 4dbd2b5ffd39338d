"""OpenVINO files of embedding models, for CPUs: a network (.xml) and its weights (.bin).

They come from our ONNX network, with each PReLU as one operation, which OpenVINO joins to the convolution before it.
"""

import contextlib
import logging
import math
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import sync_file, sync_folder
from ddl_tf.runtimes.calibration import check_calibration, last_operations
from ddl_tf.runtimes.onnx import merge_prelus, onnx_network
from ddl_tf.runtimes.openvino_package import (
    COMPUTES,
    DIGEST,
    PRECISIONS,
    SECTION,
    digest_of,
    import_without_telemetry,
    load_openvino,
    reason,
    require_precision,
)

_TO_COME = "0" * 64
# OpenVINO's kernels of grouped convolutions are slow for groups of fewer channels, depthwise ones aside: see
# docs/results/speed.md.
_CHANNELS_OF_A_GROUP = 8


def write_openvino(
    model: tf.keras.Model,
    path: Path,
    precision: str = "float32",
    calibration: Optional[np.ndarray] = None,
    flip: bool = False,
) -> None:
    """Write an embedding model for OpenVINO.

    In every precision the input is `image`, float32 `[batch, 3, height, width]`, RGB values 0..255, and the output
    `embedding`, float32 `[batch, dim]` of unit norm. Beside the file is one with the weights, whose name ends in
    `.bin`; the two belong together.

    - float32: what the model computes.
    - bfloat16: the same file, but it says that it is to be computed in bfloat16, on CPUs that have that.
    - int8: weights and activations up to the last convolution of an image are int8, in ranges that the calibration
      images set. The embedding neck has int8 weights and float32 activations; the normalisation is in float32.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        path: the file, ending in `.xml`.
        precision: one of `PRECISIONS`.
        calibration: for int8: uint8 `[n, height, width, 3]`, images like those that will be embedded.
        flip: whether to add the embedding of the mirrored image, at twice the cost.

    Raises:
        InputError: if there is no such precision, or the CPU lacks it, a package is not installed, calibration images
            are missing or do not fit, or the model cannot be converted.

    References:
        https://docs.openvino.ai/2026/openvino-workflow/model-optimization-guide/quantizing-models-post-training.html
    """
    if precision not in PRECISIONS:
        raise InputError(f"unknown precision {precision!r}: use one of {', '.join(PRECISIONS)}")
    openvino = load_openvino(path)
    core = openvino.Core()
    require_precision(core, precision, path)
    images = check_calibration(calibration, model) if precision == "int8" else None
    onnx = onnx_network(model, path, flip)
    merge_prelus(onnx)
    try:
        network = core.read_model(onnx.SerializeToString())
        _fold_constants(network)
        _join_groups(network)
        if images is not None:
            network = _in_int8(network, images, path)
    except InputError:
        raise
    except Exception as error:  # both packages raise RuntimeError and kinds of their own
        raise InputError(f"{path}: OpenVINO cannot convert the model ({reason(error)})") from None
    network.set_rt_info("float32" if precision == "int8" else precision, [SECTION, COMPUTES])
    _write(openvino, network, Path(path))


def _fold_constants(network: Any) -> None:
    # The weights of a grouped convolution come with the computation of their shape, behind which NNCF would not see
    # them: the convolution would stay in float32.
    from openvino.passes import ConstantFolding, Manager

    passes = Manager()
    passes.register_pass(ConstantFolding())
    passes.run_passes(network)


def _join_groups(network: Any) -> None:
    """Join small groups of grouped convolutions; the weights between channels of different groups are 0."""
    from openvino import opset13 as operations

    for old in network.get_ordered_ops():
        weights = old.input_value(1).get_node() if old.get_type_name() == "GroupConvolution" else None
        if weights is None or weights.get_type_name() != "Constant":
            continue
        groups, outputs, inputs = weights.data.shape[:3]
        joined = math.gcd(groups, max(_CHANNELS_OF_A_GROUP // inputs, 1))
        if inputs == 1 or joined < 2:
            continue
        kernel = np.zeros([groups // joined, joined, outputs, joined, inputs, *weights.data.shape[3:]], np.float32)
        each = np.arange(joined)
        # Indices apart from each other put their axis first.
        kernel[:, each, :, each] = weights.data.reshape([-1, joined, *weights.data.shape[1:]]).swapaxes(0, 1)
        new = operations.group_convolution(
            old.input_value(0),
            kernel.reshape([groups // joined, joined * outputs, joined * inputs, *weights.data.shape[3:]]),
            *(old.get_attributes()[name] for name in ("strides", "pads_begin", "pads_end", "dilations", "auto_pad")),
            name=old.get_friendly_name(),
        )
        for target in old.output(0).get_target_inputs():
            target.replace_source_output(new.output(0))


def _in_int8(network: Any, images: np.ndarray, path: Path) -> Any:
    nncf = import_without_telemetry("nncf", path)
    operations = [
        (
            operation.get_friendly_name(),
            [source.get_source_output().get_node().get_friendly_name() for source in operation.inputs()],
            "Convolution" in operation.get_type_name() and _is_image(operation.get_output_partial_shape(0)),
        )
        for operation in network.get_ordered_ops()
    ]
    # The squared norm in int8 is 0 for some images, or far off, and the embedding then has any norm, or is no number.
    in_float = nncf.IgnoredScope(names=last_operations(operations, path), validate=False)
    inputs = [image[np.newaxis].astype(np.float32).transpose(0, 3, 1, 2) for image in images]
    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(sys.stderr):  # its progress; a command's standard output is its result
        network = nncf.quantize(
            network,
            nncf.Dataset(inputs),
            subset_size=len(inputs),
            # Weights are symmetric, activations not: PReLU gives few negative values.
            preset=nncf.QuantizationPreset.MIXED,
            ignored_scope=in_float,
            # By default a range is the mean of those of the images, and cuts off what goes beyond; the fast correction
            # of biases adds errors of its own (docs/serving_convert.md).
            advanced_parameters=nncf.AdvancedQuantizationParameters(
                activations_range_estimator_params=nncf.quantization.range_estimator.RangeEstimatorParametersSet.MINMAX,
                disable_bias_correction=True,
            ),
        )
        return nncf.compress_weights(network, mode=nncf.CompressWeightsMode.INT8_SYM)


def _is_image(shape: Any) -> bool:
    sides: Sequence[Any] = list(shape)[2:]
    return any(side.is_dynamic or side.get_length() > 1 for side in sides)


def _write(openvino: Any, network: Any, path: Path) -> None:
    """Write both files. The network says whose weights it needs, so that a mixed pair is seen."""
    path.parent.mkdir(parents=True, exist_ok=True)
    network.set_rt_info(_TO_COME, [SECTION, DIGEST])
    with tempfile.TemporaryDirectory(dir=path.parent, prefix=f".{path.stem}.") as folder:
        aside = Path(folder) / path.name
        openvino.save_model(network, aside, compress_to_fp16=False)
        weights = aside.with_suffix(".bin")
        text = aside.read_text(encoding="utf-8")
        aside.write_text(text.replace(_TO_COME, digest_of(weights)), encoding="utf-8")
        for file in (weights, aside):
            sync_file(file)
            os.replace(file, path.with_name(file.name))
    sync_folder(path.parent)
