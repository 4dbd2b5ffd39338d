import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_layer

from ddl_tf.common.keras_version import tf_variable
from ddl_tf.layers import GroupedConvolution


@pytest.fixture
def images():
    return np.random.default_rng(0).normal(size=[2, 5, 4, 6]).astype(np.float32)


def naive_convolution(x, kernel, groups):
    """Position by position; the input channel i of its group gives to output o of the group kernel[..., i, o]."""
    _, height, width, channels = x.shape
    size, per_group = kernel.shape[0], channels // groups
    padded = np.pad(x, [(0, 0), (size // 2, size // 2), (size // 2, size // 2), (0, 0)])
    out = np.zeros_like(x)
    for row in range(height):
        for column in range(width):
            patch = padded[:, row : row + size, column : column + size]
            for channel in range(channels):
                first = channel // per_group * per_group
                weights = kernel[:, :, first : first + per_group, channel - first]
                out[:, row, column, channel] = np.sum(patch[..., first : first + per_group] * weights, axis=(1, 2, 3))
    return out


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
def test_equals_the_naive_twin(images, groups):
    layer = GroupedConvolution(groups)
    out = layer(images)
    np.testing.assert_allclose(out, naive_convolution(images, layer.kernel.numpy(), groups), rtol=1e-4, atol=1e-5)


def test_filters_strides_padding_and_bias(images):
    """A convolution of each group's channels, by Keras's own layer."""
    layer = GroupedConvolution(3, filters=12, strides=2, padding="valid", use_bias=True)
    out = layer(images)
    layer.bias.assign(np.arange(12))
    groups = [slice(first, first + 2) for first in (0, 2, 4)]
    by_group = [tf.nn.conv2d(images[..., group], layer.kernel[:, :, group], 2, "VALID") for group in groups]
    assert out.shape == (2, 2, 1, 12)
    np.testing.assert_allclose(layer(images), tf.concat(by_group, -1) + np.arange(12.0), rtol=1e-4, atol=1e-5)
    with pytest.raises(ValueError, match=r"groups must divide .* 3 groups, 6 channels, 8 filters"):
        GroupedConvolution(3, filters=8)(images)


@pytest.mark.parametrize("groups", [1, 2, 3, 6])
@pytest.mark.parametrize("strides, padding", [(1, "same"), (2, "valid")])
def test_training_equals_inference(images, groups, strides, padding):
    """Values and gradients by both ways; the way of training on CPUs, which is a sum of depthwise convolutions."""
    layer = GroupedConvolution(groups, strides=strides, padding=padding, use_bias=True)
    x = tf.constant(images)
    outputs, gradients = [], []
    for training in (False, True):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs.append(layer(x, training=training))
            # A number of which each output has a gradient of its own.
            value = tf.reduce_sum(tf.sin(outputs[-1]))
        gradients.append(tape.gradient(value, [x, *map(tf_variable, layer.trainable_variables)]))
    np.testing.assert_allclose(*outputs, rtol=1e-4, atol=1e-5)
    for plain, summed in zip(*gradients):
        np.testing.assert_allclose(plain, summed, rtol=1e-4, atol=1e-5)


def _operations(layer, training):
    graph = (
        tf.function(lambda x: layer(x, training=training)).get_concrete_function(tf.TensorSpec([None, 5, 4, 6])).graph
    )
    return [operation.type for operation in graph.get_operations()].count("DepthwiseConv2dNative")


def test_training_is_a_sum_on_cpus_alone(images, monkeypatch):
    """Inference, which is exported, and a machine with a GPU have the one plain operation."""
    layer = GroupedConvolution(2)
    layer(images)
    gpus = tf.config.list_physical_devices("GPU")
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: [])
    assert [_operations(layer, training) for training in (False, None, True)] == [1, 1, 3]
    monkeypatch.setattr(tf.config, "list_physical_devices", lambda kind=None: gpus or ["a GPU"])
    assert _operations(layer, True) == 1


def test_keras_contract(images, tmp_path, two_replicas):
    arguments = {"filters": 12, "strides": 2, "padding": "valid", "use_bias": True}
    check_layer(lambda: GroupedConvolution(3, **arguments), (images,), tmp_path, two_replicas, mixed_dtype="compute")
