"""Batch normalisation folded into the weights of the layer before it, where that gives the same network.

In inference batch normalisation multiplies each channel by a number and adds one. The kernel of a convolution or dense
layer takes the first, a bias the second. Where a batch norm comes first it stays, since a convolution pads with zeros
that the batch norm has not seen.
"""

from collections import Counter, defaultdict
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from ddl_tf.common.keras_version import all_layers, refuse_other
from ddl_tf.layers import DepthwiseNeck, FlattenNeck, GroupedConvolution, PoolNeck
from ddl_tf.layers.layer_calls import called_layer, graph_calls

_NECKS = (FlattenNeck, DepthwiseNeck, PoolNeck)


class Folded(NamedTuple):
    """A model, how many batch norms went into another layer, and how many are kept."""

    model: tf.keras.Model
    folded: int
    kept: int


class _Bias(tf.keras.layers.Layer):
    """Adds a number to each channel."""

    def build(self, input_shape: Any) -> None:
        self.bias = self.add_weight(name="bias", shape=[int(input_shape[-1])], initializer="zeros")
        super().build(input_shape)

    def call(self, x: tf.Tensor, mask: Any = None) -> tf.Tensor:
        # A batch norm that it replaces was called with one.
        del mask
        return tf.nn.bias_add(x, self.bias)


class _FoldedNeck(tf.keras.layers.Layer):
    """A spatial layer and a dense one. It is no model: cloning would miscount the calls of a layer that became one."""

    def __init__(self, spatial: list[tf.keras.layers.Layer], dense: tf.keras.layers.Dense, name: str) -> None:
        super().__init__(name=name)
        self.spatial, self.dense = spatial, dense

    def call(self, x: tf.Tensor) -> tf.Tensor:
        for layer in self.spatial:
            x = layer(x)
        return self.dense(x)


def _affine(norm: tf.keras.layers.BatchNormalization) -> tuple[np.ndarray, np.ndarray]:
    """What a batch norm does to each channel, in float64: scale and shift."""
    mean, variance = (np.asarray(value, np.float64) for value in (norm.moving_mean, norm.moving_variance))
    scale = 1 / np.sqrt(variance + norm.epsilon)
    if norm.scale:
        scale = scale * np.asarray(norm.gamma, np.float64)
    shift = -mean * scale
    if norm.center:
        shift = shift + np.asarray(norm.beta, np.float64)
    return scale, shift


def _scaled_kernel(layer: tf.keras.layers.Layer, kernel: np.ndarray, scale: np.ndarray) -> np.ndarray:
    if isinstance(layer, tf.keras.layers.DepthwiseConv2D):
        # [height, width, channels, multiplier]
        return kernel * scale.reshape(kernel.shape[2:])
    if isinstance(layer, GroupedConvolution):
        # [height, width, inputs, outputs of a group]: each input has the outputs of its group.
        by_group = scale.reshape(layer.groups, 1, kernel.shape[-1])
        return (kernel.reshape(*kernel.shape[:2], layer.groups, -1, kernel.shape[-1]) * by_group).reshape(kernel.shape)
    return kernel * scale


def _takes_batch_norm(layer: tf.keras.layers.Layer) -> bool:
    if type(layer) is GroupedConvolution:
        return True
    kinds = (tf.keras.layers.Conv2D, tf.keras.layers.DepthwiseConv2D, tf.keras.layers.Dense)
    # Classes derived from these may do something else; so does an activation in between.
    return type(layer) in kinds and layer.activation is tf.keras.activations.linear


def _pairs(model: tf.keras.Model) -> dict[str, tf.keras.layers.Layer]:
    """Find the layers that only a batch norm follows: name -> the batch norm."""
    nodes = graph_calls(model)
    calls = Counter(called_layer(node).name for node in nodes)
    followers: dict[str, list[tf.keras.layers.Layer]] = defaultdict(list)
    for node in nodes:
        for parent in node.parent_nodes:
            followers[called_layer(parent).name].append(called_layer(node))
    pairs = {}
    for layer in model.layers:
        norm, *others = followers[layer.name] or [None]
        is_norm = isinstance(norm, tf.keras.layers.BatchNormalization)
        if others or not is_norm or layer.name in model.output_names or not _takes_batch_norm(layer):
            continue
        # Half precision rounds the products otherwise than the separate layers do.
        exact = layer.compute_dtype == norm.compute_dtype == "float32"
        once = calls[layer.name] == calls[norm.name] == 1
        if exact and once and _axis(norm) in (len(norm.input.shape) - 1, -1):
            pairs[layer.name] = norm
    return pairs


def _axis(norm: tf.keras.layers.BatchNormalization) -> int:
    return norm.axis if isinstance(norm.axis, int) else norm.axis[0]


def _is_functional(layer: tf.keras.layers.Layer) -> bool:
    # A Sequential has a graph too; but one without an input layer counts its calls otherwise than a functional model.
    is_model = isinstance(layer, tf.keras.Model) and not isinstance(layer, tf.keras.Sequential)
    return is_model and hasattr(layer, "_nodes_by_depth")


def _fold_network(model: tf.keras.Model) -> tuple[tf.keras.Model, int]:
    """Fold a functional model, the models inside of it included."""
    model = tf.keras.Model(model.input, model.output, name=model.name)
    pairs = _pairs(model)
    norms = {norm.name for norm in pairs.values()}
    folded = len(pairs)
    made: list[tuple[tf.keras.layers.Layer, tf.keras.layers.Layer]] = []

    def clone(layer: tf.keras.layers.Layer) -> tf.keras.layers.Layer:
        nonlocal folded
        is_neck = type(layer) in _NECKS and layer.compute_dtype == "float32"
        if is_neck or _is_functional(layer):
            inner, count = (_fold_neck if is_neck else _fold_network)(layer)
            folded += count
            return inner
        if any(True for _ in layer._flatten_layers(include_self=False)):
            # Layers of layers are taken as they are: some of KerasCV's cannot be made again from their configuration.
            return layer
        new = _Bias(name=layer.name) if layer.name in norms else type(layer).from_config(layer.get_config())
        made.append((layer, new))
        return new

    clone_of = tf.keras.models.clone_model(model, clone_function=clone)
    for old, new in made:
        if old.name in norms:
            new.set_weights([_affine(old)[1]])
        elif old.name in pairs:
            scale, _ = _affine(pairs[old.name])
            kernel, *bias = (weight.astype(np.float64) for weight in old.get_weights())
            new.set_weights([_scaled_kernel(old, kernel, scale), *(part * scale for part in bias)])
        else:
            new.set_weights(old.get_weights())
    return clone_of, folded


def _fold_neck(neck: tf.keras.layers.Layer) -> tuple[_FoldedNeck, int]:
    """A neck as a spatial layer and one dense layer that holds all of its batch norms, also the one before it."""
    kernel, *biases = (weight.astype(np.float64) for weight in neck.dense.get_weights())
    bias = biases[0] if biases else 0.0
    before = _affine(neck.feature_norm) if hasattr(neck, "feature_norm") else None
    if before is not None:
        # Flattening puts the channels last: they repeat with every position.
        scale, shift = (np.tile(part, len(kernel) // len(part)) for part in before)
        kernel, bias = scale[:, np.newaxis] * kernel, bias + shift @ kernel
    after_scale, after_shift = _affine(neck.embedding_norm)
    spatial = [tf.keras.layers.GlobalAveragePooling2D() if isinstance(neck, PoolNeck) else tf.keras.layers.Flatten()]
    if isinstance(neck, DepthwiseNeck):
        spatial.insert(0, type(neck.depthwise).from_config(neck.depthwise.get_config()))
    folded = _FoldedNeck(spatial, tf.keras.layers.Dense(neck.embedding_size), neck.name)
    folded(tf.zeros([1, *neck.input.shape[1:]]))
    if isinstance(neck, DepthwiseNeck):
        spatial[0].set_weights(neck.depthwise.get_weights())
    folded.dense.set_weights([kernel * after_scale, bias * after_scale + after_shift])
    return folded, 1 if before is None else 2


def fold_batch_norm(model: tf.keras.Model) -> Folded:
    """Fold batch normalisation into the layers before it, wherever the network stays the same in inference.

    Folded are those that directly follow a convolution (plain, depthwise, grouped) or a dense layer that nothing else
    uses, in float32, and all of the necks. Others stay: before a padded convolution, after a sum, in half precision, or
    inside of layers of layers, as some of KerasCV's are.

    Returns:
        The folded model, which is only for inference, and the counts. It shares layers of layers with the model. A
        model that is not functional is returned as is.

    Example:
        >>> image = tf.keras.Input([8, 8, 3])
        >>> norm = tf.keras.layers.BatchNormalization()(tf.keras.layers.Conv2D(4, 3)(image))
        >>> fold_batch_norm(tf.keras.Model(image, norm))[1:]
        (1, 0)

    References:
        Jacob et al., "Quantization and Training of Neural Networks for Efficient Integer-Arithmetic-Only Inference",
        section 3.2, https://arxiv.org/abs/1712.05877
    """
    refuse_other(model, "the model")
    model, folded = _fold_network(model) if _is_functional(model) else (model, 0)
    kept = sum(isinstance(layer, tf.keras.layers.BatchNormalization) for layer in all_layers(model))
    return Folded(model, folded, kept)
