import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.layers import GroupedConvolution
from ddl_tf.models import BACKBONES, build_embedding_model
from ddl_tf.serving import fold_batch_norm


def _random_norms(model, images):
    """Batch norms of a trained network: statistics of what they see, and a learnt scale and shift."""
    random = np.random.RandomState(0)
    norms = [layer for layer in model.submodules if isinstance(layer, tf.keras.layers.BatchNormalization)]
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.momentum = 0.0
        if norm.gamma is not None:
            norm.gamma.assign(random.uniform(0.5, 1.5, norm.gamma.shape))
        norm.beta.assign(random.normal(0, 0.3, norm.beta.shape))
    model(images, training=True)
    for norm, momentum in zip(norms, momenta):
        norm.momentum = momentum
    return len(norms)


def _images(size, count=8):
    return np.random.RandomState(1).randint(0, 256, [count, size, size, 3]).astype(np.float32)


def _unit(model, images):
    rows = model(images, training=False).numpy()
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


# Of those that stay, iresnets have one in a block, before its padded convolution; they differ by the number of blocks.
KEPT = {"iresnet18": 8}
OURS = sorted(BACKBONES.keys() - {"iresnet34", "iresnet50", "iresnet100"})


@pytest.mark.parametrize("name", [*OURS, "keras_cv:resnet18_v2", "keras_cv:mit_b0", "keras_cv:csp_darknet_tiny"])
def test_a_folded_network_gives_the_same_embeddings(name):
    size = 64 if name.endswith("mit_b0") else 32
    model = build_embedding_model(name, 64, (size, size, 3))
    count = _random_norms(model, _images(size))
    expected, before = _unit(model, _images(size)), [weight.numpy() for weight in model.weights]
    folded = fold_batch_norm(model)
    np.testing.assert_allclose(_unit(folded.model, _images(size)), expected, atol=1e-5)
    assert folded.folded > 0
    assert folded.folded + folded.kept == count
    if name in BACKBONES:
        assert folded.kept == KEPT.get(name, 0)
    for weight, value in zip(model.weights, before):
        np.testing.assert_array_equal(weight, value)


def test_recomputed_and_synchronised_networks_are_folded_too():
    model = build_embedding_model("plain_small", 16, (32, 32, 3), recompute=True, sync_batch_norm=True)
    _random_norms(model, _images(32))
    folded = fold_batch_norm(model)
    np.testing.assert_allclose(_unit(folded.model, _images(32)), _unit(model, _images(32)), atol=1e-5)
    assert folded[1:] == (10, 0)


def _network(build):
    """A model of one tensor, with batch norms as after training."""
    image = tf.keras.Input([12, 12, 4])
    model = tf.keras.Model(image, build(image))
    images = np.random.RandomState(0).normal(size=[6, 12, 12, 4]).astype(np.float32)
    _random_norms(model, images)
    return model, images


def _norm():
    return tf.keras.layers.BatchNormalization()


LAYERS = tf.keras.layers


@pytest.mark.parametrize(
    "layer",
    [
        lambda: LAYERS.Conv2D(5, 3, padding="same", bias_initializer="random_normal"),
        lambda: LAYERS.Conv2D(5, 3, strides=2, use_bias=False),
        lambda: LAYERS.DepthwiseConv2D(3, depth_multiplier=2, bias_initializer="random_normal"),
        lambda: LAYERS.Dense(7, bias_initializer="random_normal"),
        lambda: GroupedConvolution(2),
        lambda: GroupedConvolution(4),
    ],
)
def test_folds_into(layer):
    model, images = _network(lambda x: _norm()(layer()(x)))
    folded = fold_batch_norm(model)
    assert folded[1:] == (1, 0)
    np.testing.assert_allclose(folded.model(images), model(images), atol=1e-5)
    assert not any(isinstance(one, LAYERS.BatchNormalization) for one in folded.model.layers)


def _branches(x):
    features = LAYERS.Conv2D(4, 3, padding="same")(x)
    return LAYERS.Add()([_norm()(features), features])


def _twice(x):
    convolution = LAYERS.Conv2D(4, 3, padding="same")
    return _norm()(convolution(convolution(x)))


@pytest.mark.parametrize(
    "build",
    [
        lambda x: LAYERS.Conv2D(4, 3, padding="same")(_norm()(x)),
        lambda x: _norm()(LAYERS.Conv2D(4, 3, activation="relu")(x)),
        lambda x: _norm()(LAYERS.ReLU()(LAYERS.Conv2D(4, 3)(x))),
        lambda x: LAYERS.BatchNormalization(axis=1)(LAYERS.Conv2D(4, 3)(x)),
        lambda x: LAYERS.BatchNormalization(dtype="float16")(LAYERS.Conv2D(4, 3, dtype="float16")(x)),
        _branches,
        _twice,
    ],
)
def test_stays_where_it_would_not_be_exact(build):
    model, images = _network(build)
    folded = fold_batch_norm(model)
    assert folded[1:] == (0, 1)
    np.testing.assert_allclose(folded.model(images), model(images), atol=1e-6)


def test_a_batch_norm_without_scale_and_shift():
    model, images = _network(lambda x: LAYERS.BatchNormalization(scale=False)(LAYERS.Conv2D(4, 3)(x)))
    np.testing.assert_allclose(fold_batch_norm(model).model(images), model(images), atol=1e-5)


def test_a_sequential_model_is_left_alone():
    model = tf.keras.Sequential([tf.keras.Input([8, 8, 3]), LAYERS.Conv2D(4, 3), _norm()])
    folded = fold_batch_norm(model)
    assert folded.model is model
    assert folded[1:] == (0, 1)
