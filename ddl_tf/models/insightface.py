"""Weights of InsightFace's PyTorch networks in ours."""

import os
from typing import NamedTuple, Optional, Union

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.layers import GroupedConvolution
from ddl_tf.models.checkpoints import OTHER_NETWORKS
from ddl_tf.models.iresnet import IRESNETS
from ddl_tf.models.recognizer import build_embedding_model
from ddl_tf.models.torch_weights import read_shapes, read_state_dict

# InsightFace's networks know this size alone.
INPUT_SHAPE = (112, 112, 3)
# Of an embedding. A network is built before its weights are read, and a file may name any size.
_MOST_DIMENSIONS = 4096

# Our layers of the neck -> PyTorch modules. The backbone's layers have the modules' names.
_IRESNET_NECK = {"feature_norm": "bn2", "dense": "fc", "embedding_norm": "features"}
_MOBILEFACENET_NECK = {
    "depthwise": "features.layers.0.layers.0",
    "feature_norm": "features.layers.0.layers.1",
    "dense": "features.layers.2",
    "embedding_norm": "features.layers.3",
}
_NECKS = {**dict.fromkeys(IRESNETS, _IRESNET_NECK), "mobilefacenet": _MOBILEFACENET_NECK}


class _Place(NamedTuple):
    """Where a tensor goes; without a variable it must be all 1."""

    layer: tf.keras.layers.Layer
    variable: Optional[tf.Variable]


def _places(layer: tf.keras.layers.Layer, module: str) -> dict[str, _Place]:
    """The tensors of one PyTorch module."""
    if isinstance(layer, tf.keras.layers.BatchNormalization):
        variables = {"weight": layer.gamma, "bias": layer.beta}
        variables.update({"running_mean": layer.moving_mean, "running_var": layer.moving_variance})
    else:
        variables = {"bias" if "bias" in variable.name else "weight": variable for variable in layer.weights}
    return {f"{module}.{name}": _Place(layer, variable) for name, variable in variables.items()}


def _converted(tensor: np.ndarray, layer: tf.keras.layers.Layer, shape: tuple[int, ...], channels: int) -> np.ndarray:
    """Bring a tensor into the order of our variable of that shape; `channels` are those of the feature map."""
    if isinstance(layer, GroupedConvolution):
        # [group * out, in, height, width] -> [height, width, group * in, out]
        outputs, inputs, *size = tensor.shape
        by_group = tensor.reshape(layer.groups, outputs // layer.groups, inputs, *size)
        return by_group.transpose(3, 4, 0, 2, 1).reshape(shape)
    if isinstance(layer, tf.keras.layers.DepthwiseConv2D):
        return tensor.transpose(2, 3, 0, 1)
    if isinstance(layer, tf.keras.layers.Conv2D):
        return tensor.transpose(2, 3, 1, 0)
    if isinstance(layer, tf.keras.layers.Dense) and tensor.ndim == 2:
        # PyTorch flattens channels before positions, we after: [out, channel * position] -> [position * channel, out]
        return tensor.reshape(len(tensor), channels, -1).transpose(2, 1, 0).reshape(shape)
    return tensor.reshape(shape)


def _check_shape(shape: tuple[int, ...], place: _Place, channels: int) -> None:
    """Compare the shape of a tensor that is not read yet with that of the variable that it goes to."""
    if place.variable is None:
        return
    wanted = tuple(place.variable.shape)
    try:
        # A tensor of this shape that takes one byte.
        converted = _converted(np.broadcast_to(np.int8(0), shape), place.layer, wanted, channels).shape
    except ValueError:
        converted = None
    if converted != wanted:
        raise ValueError(f"of shape {shape}, which does not give {wanted}")


def _listed(names: set[str]) -> str:
    return ", ".join(sorted(names)[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")


def convert_insightface(path: Union[str, "os.PathLike[str]"], backbone: str) -> tf.keras.Model:
    """Turn a trained InsightFace network into an embedding model.

    Args:
        path: the state dict (`backbone.pth`) of InsightFace's `arcface_torch`.
        backbone: `iresnet18`, `iresnet34`, `iresnet50`, `iresnet100` or `mobilefacenet`.

    Returns:
        image `[batch, 112, 112, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, as in PyTorch's eval mode.

    Raises:
        InputError: if the file cannot be read, or its tensors are not those of the backbone.
    """
    if backbone not in _NECKS:
        raise InputError(f"no InsightFace network {backbone!r}: use one of {', '.join(_NECKS)}")
    # PyTorch counts batches; nothing depends on it.
    shapes = {name: shape for name, shape in read_shapes(path).items() if not name.endswith(".num_batches_tracked")}
    last = shapes.get(f"{_NECKS[backbone]['embedding_norm']}.bias", ())
    embedding_size = last[0] if len(last) == 1 else 512
    if not 1 <= embedding_size <= _MOST_DIMENSIONS:
        raise InputError(
            f"{os.fspath(path)} holds a network with embeddings of {embedding_size:,} numbers, where this package "
            f"takes 1 to {_MOST_DIMENSIONS:,} (InsightFace's have 512); is it the backbone's state dict?"
        )
    model = build_embedding_model(backbone, embedding_size, INPUT_SHAPE)
    neck = model.get_layer("neck")
    places: dict[str, _Place] = {}
    for layer in model.get_layer("backbone").layers:
        places.update(_places(layer, layer.name))
    for name, module in _NECKS[backbone].items():
        places.update(_places(getattr(neck, name), module))
    wrong = f"{os.fspath(path)} does not hold a {backbone}"
    advice = f"name the backbone it was trained with{OTHER_NETWORKS}"
    if places.keys() - shapes.keys():
        raise InputError(f"{wrong}: it lacks {_listed(places.keys() - shapes.keys())}; {advice}")
    if shapes.keys() - places.keys():
        raise InputError(f"{wrong}: it has {_listed(shapes.keys() - places.keys())} too; {advice}")
    channels = neck.feature_norm.gamma.shape[0]
    try:
        for name, shape in shapes.items():
            _check_shape(shape, places[name], channels)
        # Only now is memory spent on them.
        for name, tensor in read_state_dict(path).items():
            if name not in places:
                continue
            if (variable := places[name].variable) is not None:
                variable.assign(_converted(tensor, places[name].layer, tuple(variable.shape), channels))
            elif not np.all(tensor == 1):
                raise ValueError("not all 1, as it is in InsightFace's networks")
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{wrong}: {name} is {error}") from None
    return model
