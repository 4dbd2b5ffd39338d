import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_layer

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


def test_keras_contract(images, tmp_path, two_replicas):
    arguments = {"filters": 12, "strides": 2, "padding": "valid", "use_bias": True}
    check_layer(lambda: GroupedConvolution(3, **arguments), (images,), tmp_path, two_replicas, mixed_dtype="compute")
