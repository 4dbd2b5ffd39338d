"""Backbones of KerasCV, imported only when one is used.

KerasCV 0.9 downloads even the architecture of a named backbone. Its architectures are fixed and few, so they stand here
and work without a network; the weights are random.
"""

from typing import Any, NamedTuple

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_cv_import import import_keras_cv


class _Architecture(NamedTuple):
    class_name: str
    arguments: dict[str, Any]


def _resnets() -> dict[str, _Architecture]:
    blocks = {18: [2, 2, 2, 2], 34: [3, 4, 6, 3], 50: [3, 4, 6, 3], 101: [3, 4, 23, 3], 152: [3, 8, 36, 3]}
    return {
        f"resnet{depth}{version}": _Architecture(
            f"ResNet{version.strip('_').upper()}Backbone",
            {
                "stackwise_filters": [64, 128, 256, 512],
                "stackwise_blocks": blocks[depth],
                "stackwise_strides": [1, 2, 2, 2],
                "block_type": "basic_block" if depth < 50 else "block",
            },
        )
        for depth in blocks
        for version in ("", "_v2")
    }


def _densenets() -> dict[str, _Architecture]:
    repeats = {121: [6, 12, 24, 16], 169: [6, 12, 32, 32], 201: [6, 12, 48, 32]}
    return {
        f"densenet{depth}": _Architecture("DenseNetBackbone", {"stackwise_num_repeats": repeats[depth]})
        for depth in repeats
    }


def _darknets() -> dict[str, _Architecture]:
    csp = {
        "tiny": ([48, 96, 192, 384], [1, 3, 3, 1]),
        "s": ([64, 128, 256, 512], [1, 3, 3, 1]),
        "m": ([96, 192, 384, 768], [2, 6, 6, 2]),
        "l": ([128, 256, 512, 1024], [3, 9, 9, 3]),
        "xl": ([170, 340, 680, 1360], [4, 12, 12, 4]),
    }
    yolo = {
        "xs": ([32, 64, 128, 256], [1, 2, 2, 1]),
        "s": ([64, 128, 256, 512], [1, 2, 2, 1]),
        "m": ([96, 192, 384, 576], [2, 4, 4, 2]),
        "l": ([128, 256, 512, 512], [3, 6, 6, 3]),
        "xl": ([160, 320, 640, 640], [3, 6, 6, 3]),
    }
    return {
        name.format(size): _Architecture(class_name, {"stackwise_channels": channels, "stackwise_depth": depths})
        for name, class_name, sizes in (
            ("csp_darknet_{}", "CSPDarkNetBackbone", csp),
            ("yolo_v8_{}_backbone", "YOLOV8Backbone", yolo),
        )
        for size, (channels, depths) in sizes.items()
    }


def _mix_transformers() -> dict[str, _Architecture]:
    depths = [[2, 2, 2, 2], [2, 2, 2, 2], [3, 4, 6, 3], [3, 4, 18, 3], [3, 8, 27, 3], [3, 6, 40, 3]]
    return {
        f"mit_b{size}": _Architecture(
            "MiTBackbone",
            {"depths": depth, "embedding_dims": [32, 64, 160, 256] if size == 0 else [64, 128, 320, 512]},
        )
        for size, depth in enumerate(depths)
    }


def _efficientnets() -> dict[str, _Architecture]:
    coefficients = [(1.0, 1.0), (1.0, 1.1), (1.1, 1.2), (1.2, 1.4), (1.4, 1.8), (1.6, 2.2), (1.8, 2.6), (2.0, 3.1)]
    stages = {
        "stackwise_kernel_sizes": [3, 3, 5, 3, 5, 5, 3],
        "stackwise_num_repeats": [1, 2, 2, 3, 3, 4, 1],
        "stackwise_input_filters": [32, 16, 24, 40, 80, 112, 192],
        "stackwise_output_filters": [16, 24, 40, 80, 112, 192, 320],
        "stackwise_expansion_ratios": [1, 6, 6, 6, 6, 6, 6],
        "stackwise_strides": [1, 2, 2, 2, 1, 2, 1],
    }
    architectures = {}
    for size, (width, depth) in enumerate(coefficients):
        arguments = {"width_coefficient": width, "depth_coefficient": depth, **stages}
        architectures[f"efficientnetv1_b{size}"] = _Architecture(
            "EfficientNetV1Backbone", {**arguments, "stackwise_squeeze_and_excite_ratios": [0.25] * 7}
        )
        if size < 5:
            architectures[f"efficientnetlite_b{size}"] = _Architecture("EfficientNetLiteBackbone", arguments)
    return architectures


def _efficientnets_v2() -> dict[str, _Architecture]:
    base = ([1, 2, 2, 3, 5, 8], [32, 16, 32, 48, 96, 112, 192])
    # Number of blocks of the stages; filters of the stem and the stages; coefficients of width and depth.
    sizes = {
        "b0": (*base, 1.0, 1.0),
        "b1": (*base, 1.0, 1.1),
        "b2": (*base, 1.1, 1.2),
        "b3": (*base, 1.2, 1.4),
        "s": ([2, 4, 4, 6, 9, 15], [24, 24, 48, 64, 128, 160, 256], 1.0, 1.0),
        "m": ([3, 5, 5, 7, 14, 18, 5], [24, 24, 48, 80, 160, 176, 304, 512], 1.0, 1.0),
        "l": ([4, 7, 7, 10, 19, 25, 7], [32, 32, 64, 96, 192, 224, 384, 640], 1.0, 1.0),
    }
    architectures = {}
    for size, (repeats, filters, width, depth) in sizes.items():
        late = len(repeats) - 3
        architectures[f"efficientnetv2_{size}"] = _Architecture(
            "EfficientNetV2Backbone",
            {
                "width_coefficient": width,
                "depth_coefficient": depth,
                "stackwise_kernel_sizes": [3] * len(repeats),
                "stackwise_num_repeats": repeats,
                "stackwise_input_filters": filters[:-1],
                "stackwise_output_filters": filters[1:],
                "stackwise_expansion_ratios": [1, 4, 4, 4, 6, 6, 6][: len(repeats)],
                "stackwise_squeeze_and_excite_ratios": [0] * 3 + [0.25] * late,
                "stackwise_strides": [1, 2, 2, 2, 1, 2, 1][: len(repeats)],
                "stackwise_conv_types": ["fused"] * 3 + ["unfused"] * late,
            },
        )
    return architectures


def _mobilenets() -> dict[str, _Architecture]:
    # Of each block: expansion, filters, kernel size, stride, squeeze-and-excite ratio (or none), activation.
    small = [
        (1, 16, 3, 2, 0.25, "relu"),
        (72 / 16, 24, 3, 2, None, "relu"),
        (88 / 24, 24, 3, 1, None, "relu"),
        (4, 40, 5, 2, 0.25, "hard_swish"),
        (6, 40, 5, 1, 0.25, "hard_swish"),
        (6, 40, 5, 1, 0.25, "hard_swish"),
        (3, 48, 5, 1, 0.25, "hard_swish"),
        (3, 48, 5, 1, 0.25, "hard_swish"),
        (6, 96, 5, 2, 0.25, "hard_swish"),
        (6, 96, 5, 1, 0.25, "hard_swish"),
        (6, 96, 5, 1, 0.25, "hard_swish"),
    ]
    large = [
        (1, 16, 3, 1, None, "relu"),
        (4, 24, 3, 2, None, "relu"),
        (3, 24, 3, 1, None, "relu"),
        (3, 40, 5, 2, 0.25, "relu"),
        (3, 40, 5, 1, 0.25, "relu"),
        (3, 40, 5, 1, 0.25, "relu"),
        (6, 80, 3, 2, None, "hard_swish"),
        (2.5, 80, 3, 1, None, "hard_swish"),
        (2.3, 80, 3, 1, None, "hard_swish"),
        (2.3, 80, 3, 1, None, "hard_swish"),
        (6, 112, 3, 1, 0.25, "hard_swish"),
        (6, 112, 3, 1, 0.25, "hard_swish"),
        (6, 160, 5, 2, 0.25, "hard_swish"),
        (6, 160, 5, 1, 0.25, "hard_swish"),
        (6, 160, 5, 1, 0.25, "hard_swish"),
    ]
    names = ("expansion", "filters", "kernel_size", "stride", "se_ratio", "activation")
    return {
        f"mobilenet_v3_{size}": _Architecture(
            "MobileNetV3Backbone",
            {f"stackwise_{name}": list(column) for name, column in zip(names, zip(*blocks))},
        )
        for size, blocks in (("small", small), ("large", large))
    }


# KerasCV's names of its presets without weights -> architecture.
ARCHITECTURES = {
    **_resnets(),
    **_densenets(),
    **_darknets(),
    **_mix_transformers(),
    **_efficientnets(),
    **_efficientnets_v2(),
    **_mobilenets(),
    "vgg16": _Architecture("VGG16Backbone", {"include_top": False}),
}


def _key(name: str) -> str:
    """`ResNet18V2Backbone` and `resnet18_v2` are one."""
    return name.replace("_", "").lower().removesuffix("backbone")


def keras_cv_backbone(name: str, input_shape: tuple[int, int, int]) -> tf.keras.Model:
    """Build a backbone of KerasCV with random weights, without its rescaling.

    Args:
        name: KerasCV's name of a preset or of a class, such as `resnet18_v2` or `ResNet18V2Backbone`.
        input_shape: `(height, width, channels)` of the images.

    Returns:
        A model named "backbone", image `[batch, height, width, channels]` -> feature map
        `[batch, rows, columns, features]`.

    Raises:
        InputError: if there is no backbone of that name, or it cannot take that shape, or KerasCV makes it of layers of
            Keras 3, which have no weights in a model of Keras 2.
    """
    found = {_key(preset): architecture for preset, architecture in ARCHITECTURES.items()}.get(_key(name))
    if found is None:
        raise InputError(f"unknown KerasCV backbone {name!r}: use one of {', '.join(sorted(ARCHITECTURES))}")
    build = getattr(import_keras_cv().models, found.class_name)
    try:
        model = build(**found.arguments, include_rescaling=False, input_shape=tuple(input_shape), name="backbone")
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
