"""Backbones of KerasCV, imported only when one is used.

KerasCV 0.9 downloads even the architecture of a named backbone. Its architectures are fixed and few, so they stand here
and work without a network; the weights are random.
"""

from collections.abc import Iterator
from typing import Any

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_cv_import import import_keras_cv

_RESNETS = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}
_DENSENETS = {121: [6, 12, 24, 16], 169: [6, 12, 32, 32], 201: [6, 12, 48, 32]}
# Channels of the stages, and their depths.
_CSP_DARKNETS = {
    "tiny": ([48, 96, 192, 384], [1, 3, 3, 1]),
    "s": ([64, 128, 256, 512], [1, 3, 3, 1]),
    "m": ([96, 192, 384, 768], [2, 6, 6, 2]),
    "l": ([128, 256, 512, 1024], [3, 9, 9, 3]),
    "xl": ([170, 340, 680, 1360], [4, 12, 12, 4]),
}
_YOLO_V8 = {
    "xs": ([32, 64, 128, 256], [1, 2, 2, 1]),
    "s": ([64, 128, 256, 512], [1, 2, 2, 1]),
    "m": ([96, 192, 384, 576], [2, 4, 4, 2]),
    "l": ([128, 256, 512, 512], [3, 6, 6, 3]),
    "xl": ([160, 320, 640, 640], [3, 6, 6, 3]),
}
_MIX_TRANSFORMERS = [[2, 2, 2, 2], [2, 2, 2, 2], [3, 4, 6, 3], [3, 4, 18, 3], [3, 8, 27, 3], [3, 6, 40, 3]]
# Coefficients of width and depth.
_EFFICIENTNETS = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1)]
_EFFICIENTNET_STAGES: dict[str, Any] = {
    "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
    "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
    "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
    "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
    "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
    "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
}
_V2_BASE = ([1, 2, 2, 3, 5, 8], [32, 16, 32, 48, 96, 112, 192])
# Number of blocks of the stages; filters of the stem and the stages; coefficients of width and depth.
_EFFICIENTNETS_V2: dict[str, tuple[list[int], list[int], float, float]] = {
    **{f"b{number}": (*_V2_BASE, *coefficients) for number, coefficients in enumerate(_EFFICIENTNETS[:4])},
    "s": ([2, 4, 4, 6, 9, 15], [24, 24, 48, 64, 128, 160, 256], 1.0, 1.0),
    "m": ([3, 5, 5, 7, 14, 18, 5], [24, 24, 48, 80, 160, 176, 304, 512], 1.0, 1.0),
    "l": ([4, 7, 7, 10, 19, 25, 7], [32, 32, 64, 96, 192, 224, 384, 640], 1.0, 1.0),
}
_MOBILENETS_V3: dict[str, dict[str, list[Any]]] = {
    "small": {
        "expansion": [1, 72 / 16, 88 / 24, 4, 6, 6, 3, 3, 6, 6, 6],
        "filters": [16, 24, 24, 40, 40, 40, 48, 48, 96, 96, 96],
        "kernel_size": [3] * 3 + [5] * 8,
        "stride": [2, 2, 1, 2, 1, 1, 1, 1, 2, 1, 1],
        "se_ratio": [0.25, None, None] + [0.25] * 8,
        "activation": ["relu"] * 3 + ["hard_swish"] * 8,
    },
    "large": {
        "expansion": [1, 4, 3, 3, 3, 3, 6, 2.5, 2.3, 2.3, 6, 6, 6, 6, 6],
        "filters": [16, 24, 24, 40, 40, 40, 80, 80, 80, 80, 112, 112, 160, 160, 160],
        "kernel_size": [3] * 3 + [5] * 3 + [3] * 6 + [5] * 3,
        "stride": [1, 2, 1, 2, 1, 1, 2, 1, 1, 1, 1, 1, 2, 1, 1],
        "se_ratio": [None] * 3 + [0.25] * 3 + [None] * 4 + [0.25] * 5,
        "activation": ["relu"] * 6 + ["hard_swish"] * 9,
    },
}


def _architectures() -> Iterator[tuple[str, str, dict[str, Any]]]:
    """KerasCV's name of each preset without weights, its class, and the arguments of that class."""
    yield "vgg16", "VGG16Backbone", {"include_top": False}
    for depth, blocks in _RESNETS.items():
        kind = "basic_block" if depth < 50 else "block"
        resnet: dict[str, Any] = {"stackwise_filters": [64, 128, 256, 512], "stackwise_strides": [1, 2, 2, 2]}
        resnet.update(stackwise_blocks=blocks, block_type=kind)
        yield f"resnet{depth}", "ResNetBackbone", resnet
        yield f"resnet{depth}_v2", "ResNetV2Backbone", resnet
    for depth, repeats in _DENSENETS.items():
        yield f"densenet{depth}", "DenseNetBackbone", {"stackwise_num_repeats": repeats}
    for size, (channels, depths) in _CSP_DARKNETS.items():
        yield f"csp_darknet_{size}", "CSPDarkNetBackbone", {"stackwise_channels": channels, "stackwise_depth": depths}
    for size, (channels, depths) in _YOLO_V8.items():
        yield f"yolo_v8_{size}_backbone", "YOLOV8Backbone", {"stackwise_channels": channels, "stackwise_depth": depths}
    for number, depths in enumerate(_MIX_TRANSFORMERS):
        widths = [32, 64, 160, 256] if number == 0 else [64, 128, 320, 512]
        yield f"mit_b{number}", "MiTBackbone", {"depths": depths, "embedding_dims": widths}
    for number, (width_coefficient, depth_coefficient) in enumerate(_EFFICIENTNETS):
        coefficients = {"width_coefficient": width_coefficient, "depth_coefficient": depth_coefficient}
        lite = {**coefficients, **_EFFICIENTNET_STAGES}
        v1 = {**lite, "stackwise_squeeze_and_excite_ratios": [0.25] * 7}
        yield f"efficientnetv1_b{number}", "EfficientNetV1Backbone", v1
        if number < 5:
            yield f"efficientnetlite_b{number}", "EfficientNetLiteBackbone", lite
    for size, (repeats, filters, width_coefficient, depth_coefficient) in _EFFICIENTNETS_V2.items():
        stages, late = len(repeats), len(repeats) - 3
        v2: dict[str, Any] = {
            "width_coefficient": width_coefficient,
            "depth_coefficient": depth_coefficient,
            "stackwise_kernel_sizes": [3] * stages,
            "stackwise_num_repeats": repeats,
            "stackwise_input_filters": filters[:-1],
            "stackwise_output_filters": filters[1:],
            "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6, 6][:stages],
            "stackwise_squeeze_and_excite_ratios": [0] * 3 + [0.25] * late,
            "stackwise_strides": [1, 2, 2, 2, 1, 2, 1][:stages],
            "stackwise_conv_types": ["fused"] * 3 + ["unfused"] * late,
        }
        yield f"efficientnetv2_{size}", "EfficientNetV2Backbone", v2
    for size, columns in _MOBILENETS_V3.items():
        yield f"mobilenet_v3_{size}", "MobileNetV3Backbone", {f"stackwise_{name}": c for name, c in columns.items()}


# Name -> class and its arguments.
ARCHITECTURES = {name: (class_name, arguments) for name, class_name, arguments in _architectures()}


def keras_cv_backbone(name: str, input_shape: tuple[int, int, int]) -> tf.keras.Model:
    """Build the backbone of a KerasCV preset or class, with random weights and no rescaling; see `build_backbone`."""
    # `ResNet18V2Backbone` and `resnet18_v2` are one.
    key, *keys = (text.replace("_", "").lower().removesuffix("backbone") for text in (name, *ARCHITECTURES))
    if key not in keys:
        raise InputError(f"unknown KerasCV backbone {name!r}: use one of {', '.join(sorted(ARCHITECTURES))}")
    class_name, arguments = list(ARCHITECTURES.values())[keys.index(key)]
    build = getattr(import_keras_cv().models, class_name)
    try:
        model = build(**arguments, include_rescaling=False, input_shape=tuple(input_shape), name="backbone")
    except ValueError as error:
        # The rest is the operation's definition.
        reason = " ".join(str(error).split(" for '{{")[0].split())
        raise InputError(f"KerasCV's {name} cannot take images of {input_shape}; use larger ones ({reason})") from None
    if not model.weights:
        raise InputError(
            f"KerasCV's {name} is made of layers of Keras 3, which cannot be trained here: use another backbone, or "
            "TensorFlow 2.15 (docs/versions.md)"
        )
    return model
