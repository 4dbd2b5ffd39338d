from unittest import mock

import numpy as np
import pytest
import tensorflow as tf
from keras_case import assert_weights, policy
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.common.errors import InputError
from ddl_tf.models import (
    build_backbone,
    build_embedding_model,
    build_recognizer,
    initialise_from,
    load_checkpoint,
    save_checkpoint,
)
from ddl_tf.models.gradient_checkpointing import RecomputedModel
from ddl_tf.models.replay import random_layers

SHAPE = (16, 16, 3)
IMAGES = np.random.default_rng(0).uniform(0, 255, [4, *SHAPE]).astype(np.float32)


def pair():
    """The same embedding model without and with recomputation."""
    plain, recomputed = (build_embedding_model("plain_small", 8, SHAPE, recompute=value) for value in (False, True))
    recomputed.set_weights(plain.get_weights())
    assert isinstance(recomputed.get_layer("backbone"), RecomputedModel)
    return plain, recomputed


def gradients(model, images):
    with tf.GradientTape() as tape:
        loss = tf.reduce_sum(model(images, training=True) ** 3)
    return tape.gradient(loss, model.trainable_variables)


@pytest.mark.parametrize(
    "run, name, tolerance", [(gradients, "float32", 1e-5), (tf.function(gradients), "mixed_float16", 0.03)]
)
def test_gradients_and_statistics_are_the_same(run, name, tolerance):
    with policy(name):
        plain, recomputed = pair()
        np.testing.assert_array_equal(recomputed(IMAGES), plain(IMAGES))
        before = plain.get_weights()
        for gradient, expected in zip(run(recomputed, IMAGES), run(plain, IMAGES)):
            assert gradient.dtype == tf.float32
            np.testing.assert_allclose(gradient, expected, atol=tolerance * np.abs(expected).max())
    assert_weights(recomputed.weights, plain.weights, rtol=1e-6)
    assert any(not np.array_equal(*weights) for weights in zip(before, plain.get_weights()))


def test_every_block_runs_twice():
    """Counted, since the numbers alone would be right without any recomputation."""
    for model, calls in zip(pair(), (1, 2)):
        layer = model.get_layer("backbone").layers[-4]
        with mock.patch.object(layer, "call", wraps=layer.call):
            gradients(model, IMAGES)
            assert layer.call.call_count == calls


@pytest.mark.parametrize("kind", ["recompute", "sync_batch_norm"])
def test_checkpoints_serve_both_kinds(kind, tmp_path):
    plain, recomputed = (
        build_recognizer("plain_small", 5, embedding_size=8, input_shape=SHAPE, **{kind: value})
        for value in (False, True)
    )
    rows = {"image": tf.constant(IMAGES), "label": tf.constant([0, 1, 2, -1])}
    expected = recomputed(rows)["embedding"], plain(rows)["embedding"]
    for name, model in (("recomputed", recomputed), ("plain", plain)):
        save_checkpoint(model, tmp_path / f"{name}.keras")
    np.testing.assert_array_equal(load_checkpoint(tmp_path / "recomputed.keras")(rows)["embedding"], expected[0])
    for model, name, embedding in zip((plain, recomputed), ("recomputed", "plain"), expected):
        initialise_from(model, tmp_path / f"{name}.keras")
        np.testing.assert_array_equal(model(rows)["embedding"], embedding)


@pytest.mark.parametrize(("name", "blocks"), [("iresnet18", 8), ("mobilefacenet", 12), ("keras_cv:resnet18", 8)])
def test_every_block_is_a_part(name, blocks):
    backbone = build_backbone(name, (32, 32, 3))
    made = RecomputedModel(backbone.input, backbone.output, name="backbone")
    # And what follows the last one; iresnet ends with a block.
    assert len(made._blocks()) == blocks + (name != "iresnet18")


def test_backbones_that_cannot():
    image = tf.keras.Input(SHAPE)
    conv = tf.keras.layers.Conv2D(3, 3, padding="same")
    block = tf.keras.layers.Add()([conv(image), image])
    for output, message in (
        (conv(image), "because it has no residual blocks"),
        (tf.keras.layers.Concatenate()([block, image]), "because it is no chain of residual blocks"),
        (tf.keras.layers.Dropout(0.5, name="drop")(block), "because drop draws other random numbers"),
    ):
        with pytest.raises(InputError, match=message):
            RecomputedModel(image, output)
    assert not random_layers(tf.keras.Model(image, tf.keras.layers.Dropout(0.0)(block)))
