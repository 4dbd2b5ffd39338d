import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_layer
from needs import LATER_LANES

from ddl_tf.common.keras_version import random_state_in_variables
from ddl_tf.layers import DepthwiseNeck, FlattenNeck, PoolNeck

NECKS = {"flatten": FlattenNeck, "depthwise": DepthwiseNeck, "pool": PoolNeck}


@pytest.fixture
def features():
    return np.random.default_rng(0).normal(size=[8, 3, 2, 4]).astype(np.float32)


def naive_norm(x, layer):
    gamma = 1.0 if layer.gamma is None else layer.gamma.numpy()
    mean, variance, beta = (np.float64(w) for w in (layer.moving_mean, layer.moving_variance, layer.beta))
    return (x - mean) / np.sqrt(variance + 1e-5) * gamma + beta


def naive_embedding(neck, features):
    dense = neck.dense.kernel.numpy().astype(np.float64)
    bias = neck.dense.bias.numpy() if neck.dense.use_bias else 0.0
    x = features.astype(np.float64)
    if isinstance(neck, FlattenNeck):
        x = naive_norm(x, neck.feature_norm).reshape(len(x), -1)
    elif isinstance(neck, DepthwiseNeck):
        x = naive_norm(np.einsum("bhwc,hwc->bc", x, neck.depthwise.weights[0].numpy()[..., 0]), neck.feature_norm)
    else:
        x = x.mean(axis=(1, 2))
    return naive_norm(x @ dense + bias, neck.embedding_norm)


@pytest.mark.parametrize("neck_class", NECKS.values(), ids=NECKS)
def test_equals_the_naive_twin(neck_class, features):
    neck, random = neck_class(5), np.random.default_rng(1)
    neck(features)
    # Weights that no initializer gives, so that a forgotten one shows.
    for weight in neck.weights:
        weight.assign(random.uniform(*((0.5, 2.0) if "variance" in weight.name else (-1.0, 1.0)), weight.shape))
    np.testing.assert_allclose(neck(features), naive_embedding(neck, features), rtol=1e-4, atol=1e-4)
    if neck_class is FlattenNeck:
        # PyTorch's momentum, with dropout behind it, only while training.
        neck = FlattenNeck(5, dropout=0.5)
        np.testing.assert_array_equal(neck(features), neck(features, training=False))
        first = neck(features, training=True)
        mean = 0.1 * features.mean(axis=(0, 1, 2))
        np.testing.assert_allclose(neck.feature_norm.moving_mean, mean, rtol=1e-4, atol=1e-6)
        assert not np.array_equal(neck(features, training=True), first)


@pytest.mark.parametrize("neck_class", NECKS.values(), ids=NECKS)
def test_keras_contract(neck_class, features, tmp_path, two_replicas):
    # Each replica normalises by its own half of the batch.
    check_layer(lambda: neck_class(5), (features,), tmp_path, two_replicas, same_on_replicas=False)


@pytest.mark.skipif(LATER_LANES, reason="other versions draw other numbers")
def test_a_seed_gives_the_weights_that_it_gave_before_necks_were_built_at_once():
    """Dropout draws its seed before the kernel does."""
    with random_state_in_variables():
        tf.keras.utils.set_random_seed(1)
        neck = FlattenNeck(4)
        neck(tf.zeros([1, 2, 2, 3]))
    np.testing.assert_allclose(neck.dense.kernel[0], [0.11177135, -0.11962488, 0.3809393, 0.07768607], rtol=1e-6)
