"""Weights of InsightFace's PyTorch networks in ours."""

import os
from typing import Optional, Union

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.layers import GroupedConvolution
from ddl_tf.models.iresnet import IRESNETS
from ddl_tf.models.model_choice import OTHER_NETWORKS
from ddl_tf.models.recognizer import build_embedding_model
from ddl_tf.models.torch_weights import read_shapes, read_state_dict

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


# Where a tensor goes, a layer and its variable; without a variable it must be all 1.
_Place = tuple[tf.keras.layers.Layer, Optional[tf.Variable]]


def _places(layer: tf.keras.layers.Layer, module: str) -> dict[str, _Place]:
    """The tensors of one PyTorch module."""
    if isinstance(layer, tf.keras.layers.BatchNormalization):
        variables = {"weight": layer.gamma, "bias": layer.beta}
        variables.update({"running_mean": layer.moving_mean, "running_var": layer.moving_variance})
    else:
        variables = {"bias" if "bias" in variable.name else "weight": variable for variable in layer.weights}
    return {f"{module}.{name}": (layer, variable) for name, variable in variables.items()}


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


def _fits(shape: tuple[int, ...], layer: tf.keras.layers.Layer, wanted: tuple[int, ...], channels: int) -> bool:
    """Whether a tensor that is not read yet will have the shape of the variable that it goes to."""
    try:
        # A tensor of this shape that takes one byte.
        return _converted(np.broadcast_to(np.int8(0), shape), layer, wanted, channels).shape == wanted
    except ValueError:
        return False


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
    # InsightFace's networks know this size alone.
    model = build_embedding_model(backbone, embedding_size, (112, 112, 3))
    neck = model.get_layer("neck")
    modules = [(layer, layer.name) for layer in model.get_layer("backbone").layers]
    modules += [(getattr(neck, name), module) for name, module in _NECKS[backbone].items()]
    places = {name: place for layer, module in modules for name, place in _places(layer, module).items()}
    wrong = f"{os.fspath(path)} does not hold a {backbone}"
    advice = f"name the backbone it was trained with{OTHER_NETWORKS}"
    missing, more = places.keys() - shapes.keys(), shapes.keys() - places.keys()
    if missing or more:
        difference = f"it lacks {_listed(missing)}" if missing else f"it has {_listed(more)} too"
        raise InputError(f"{wrong}: {difference}; {advice}")
    channels = neck.feature_norm.gamma.shape[0]
    try:
        for name, shape in shapes.items():
            layer, variable = places[name]
            if variable is not None and not _fits(shape, layer, tuple(variable.shape), channels):
                raise ValueError(f"of shape {shape}, which does not give {tuple(variable.shape)}")
        # Only now is memory spent on them.
        for name, tensor in read_state_dict(path).items():
            layer, variable = places.get(name, (None, None))
            if variable is not None:
                variable.assign(_converted(tensor, layer, tuple(variable.shape), channels))
            elif name in places and not np.all(tensor == 1):
                raise ValueError("not all 1, as it is in InsightFace's networks")
    except ValueError as error:
        raise error if isinstance(error, InputError) else InputError(f"{wrong}: {name} is {error}") from None
    return model
