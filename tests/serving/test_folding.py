import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.keras_version import all_layers
from ddl_tf.layers import GroupedConvolution
from ddl_tf.models import BACKBONES, build_embedding_model
from ddl_tf.serving import fold_batch_norm


def _random_norms(model, images):
    """Batch norms of a trained network: statistics of what they see, and a learnt scale and shift."""
    random = np.random.RandomState(0)
    norms = [layer for layer in all_layers(model) if isinstance(layer, tf.keras.layers.BatchNormalization)]
    for norm in norms:
        norm.momentum = 0.0
        if norm.gamma is not None:
            norm.gamma.assign(random.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(random.normal(0, 0.3, norm.beta.shape))
    model(images, training=True)
    return len(norms)


def _images(size):
    return np.random.RandomState(1).randint(0, 256, [8, size, size, 3]).astype(np.float32)


def _unit(model, images):
    rows = model(images, training=False).numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# iresnets differ by the number of blocks, in each of which one norm stays. Half a minute for the transformer.
OURS = sorted(BACKBONES.keys() - {"iresnet34", "iresnet50", "iresnet100", "plain_small"})
NAMES = ["plain_small", *OURS, "keras_cv:resnet18_v2", pytest.param("keras_cv:mit_b0", marks=pytest.mark.heavy)]


@pytest.mark.parametrize("name", NAMES)
def test_a_folded_network_gives_the_same_embeddings(name):
    size = 64 if name.endswith("mit_b0") else 32
    options = {"recompute": True, "sync_batch_norm": True} if name == "plain_small" else {}
    model = build_embedding_model(name, 16, (size, size, 3), **options)
    count = _random_norms(model, _images(size))
    expected, before = _unit(model, _images(size)), [weight.numpy() for weight in model.weights]
    folded = fold_batch_norm(model)
    np.testing.assert_allclose(_unit(folded.model, _images(size)), expected, atol=1e-5)
    assert folded.folded > 0
    assert folded.folded + folded.kept == count
    if name in BACKBONES:
        assert folded.kept == (8 if name == "iresnet18" else 0)
    for weight, value in zip(model.weights, before):
        np.testing.assert_array_equal(weight, value)


def _network(build):
    """A model of one tensor, with batch norms as after training."""
    image = tf.keras.Input([12, 12, 4])
    model = tf.keras.Model(image, build(image))
    images = np.random.RandomState(0).normal(size=[6, 12, 12, 4]).astype(np.float32)
    _random_norms(model, images)
    return model, images


LAYERS = tf.keras.layers
_norm = LAYERS.BatchNormalization


@pytest.mark.parametrize(
    "make",
    [
        lambda: LAYERS.Conv2D(5, 3, padding="same", bias_initializer="random_normal"),
        lambda: LAYERS.Conv2D(5, 3, strides=2, use_bias=False),
        lambda: LAYERS.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="random_normal"),
        lambda: LAYERS.Dense(7, bias_initializer="random_normal"),
        lambda: GroupedConvolution(2),
    ],
)
def test_folds_into(make):
    for norm in (_norm(), _norm(scale=False)):
        model, images = _network(lambda x, norm=norm: norm(make()(x)))
        folded = fold_batch_norm(model)
        assert folded[1:] == (1, 0)
        np.testing.assert_allclose(folded.model(images), model(images), atol=1e-5)
        assert not any(isinstance(layer, LAYERS.BatchNormalization) for layer in folded.model.layers)


def _convolution(**options):
    return LAYERS.Conv2D(4, 3, padding="same", **options)


@pytest.mark.parametrize(
    "build",
    [
        lambda x: _convolution()(_norm()(x)),
        lambda x: _norm()(_convolution(activation="relu")(x)),
        lambda x: _norm()(LAYERS.ReLU()(_convolution()(x))),
        lambda x: _norm(axis=1)(_convolution()(x)),
        lambda x: _norm(dtype="float16")(_convolution(dtype="float16")(x)),
        # Features that another layer uses too, and a convolution that is used twice.
        lambda x: (lambda features: LAYERS.Add()([_norm()(features), features]))(_convolution()(x)),
        lambda x: (lambda convolution: _norm()(convolution(convolution(x))))(_convolution()),
    ],
)
def test_stays_where_it_would_not_be_exact(build):
    model, images = _network(build)
    folded = fold_batch_norm(model)
    assert folded[1:] == (0, 1)
    np.testing.assert_allclose(folded.model(images), model(images), atol=1e-6)
