import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.keras_version import all_layers
from ddl_tf.layers import LowRankConv2D, LowRankDense, LowRankEinsumDense, LowRankLayer
from ddl_tf.models import build_recognizer, initialise_from, load_checkpoint, save_checkpoint
from ddl_tf.models.low_rank import add_low_rank, merge_low_rank


def attention_network():
    tf.keras.utils.set_random_seed(0)
    image = tf.keras.Input([4, 4, 3], name="image")
    x = tf.keras.layers.Conv2D(6, 1, strides=2, name="patches")(image)
    x = tf.keras.layers.Reshape([4, 6])(x)
    x = x + tf.keras.layers.MultiHeadAttention(2, 3, name="attention")(x, x)
    x = tf.keras.layers.Dense(5, use_bias=False, name="dense")(tf.keras.layers.LayerNormalization()(x))
    return tf.keras.Model(image, tf.keras.layers.EinsumDense("abc,bcd->ad", 4, name="einsum")(x))


def randomise(network):
    """Give the changes a value, which begin at zero."""
    for layer in all_layers(network):
        if isinstance(layer, LowRankLayer):
            layer.low_rank_b.assign(tf.random.stateless_normal(layer.low_rank_b.shape, [0, 1]))


def test_it_computes_the_same_at_first_and_when_it_is_merged(tmp_path):
    network = attention_network()
    image = np.random.default_rng(0).normal(size=(2, 4, 4, 3)).astype(np.float32)
    changed = add_low_rank(network, 2, 4.0)
    np.testing.assert_array_equal(changed(image), network(image))
    # A and B of the convolution, of four projections, and of the two others.
    assert len(changed.trainable_weights) - 2 == 2 * 7
    randomise(changed)
    assert np.abs(changed(image) - network(image)).max() > 0.1
    merged = merge_low_rank(changed)
    np.testing.assert_allclose(merged(image), changed(image), rtol=1e-5, atol=1e-5)
    assert [weight.shape for weight in merged.weights] == [weight.shape for weight in network.weights]
    assert not [layer for layer in all_layers(merged) if isinstance(layer, LowRankLayer)]
    changed.save(tmp_path / "changed.keras")
    np.testing.assert_array_equal(tf.keras.models.load_model(tmp_path / "changed.keras")(image), changed(image))


def test_the_kernel_is_the_naive_one():
    for layer, shape in (
        (LowRankDense(4, low_rank=2, alpha=6.0), [5, 3]),
        (LowRankConv2D(4, 1, low_rank=2, alpha=6.0), [5, 2, 2, 3]),
        (LowRankEinsumDense("ab,bcd->acd", (2, 4), low_rank=2, alpha=6.0), [5, 3]),
    ):
        layer(tf.ones(shape))
        layer.low_rank_b.assign(tf.random.stateless_normal(layer.low_rank_b.shape, [0, 1]))
        frozen, a, b = (weight.numpy() for weight in (layer.frozen_kernel, layer.low_rank_a, layer.low_rank_b))
        expected = frozen.copy().reshape(a.shape[0], -1)
        for i, j, k in np.ndindex(a.shape[0], b.shape[1], 2):
            expected[i, j] += 6.0 / 2 * a[i, k] * b[k, j]
        np.testing.assert_allclose(layer.kernel, expected.reshape(frozen.shape), rtol=1e-5, atol=1e-6)


def test_a_recognizer_is_changed_started_and_saved_as_a_plain_one(tmp_path):
    def build():
        return build_recognizer("mobilefacenet", 5, embedding_size=8, input_shape=(32, 32, 3))

    inputs = {"image": np.random.default_rng(0).uniform(0, 255, (2, 32, 32, 3)), "label": np.array([1, -1])}
    save_checkpoint(build(), tmp_path / "start.keras")
    changed = add_low_rank(build(), 3, 3.0)
    assert initialise_from(changed, tmp_path / "start.keras") == ["backbone", "neck", "head"]
    start = load_checkpoint(tmp_path / "start.keras")
    np.testing.assert_allclose(changed(inputs)["logits"], start(inputs)["logits"], rtol=1e-5, atol=1e-5)
    randomise(changed)
    save_checkpoint(changed, tmp_path / "end.keras")
    end = load_checkpoint(tmp_path / "end.keras")
    assert [weight.shape for weight in end.weights] == [weight.shape for weight in start.weights]
    np.testing.assert_allclose(end(inputs)["logits"], changed(inputs)["logits"], rtol=1e-4, atol=1e-4)


def test_refused():
    network = attention_network()
    for arguments, words in (
        ((0, 1.0), "low_rank must be a whole number, at least 1, got 0"),
        ((2, 0.0), "alpha must be above 0 and finite, got 0.0"),
        ((2, 1.0, "conv.*"), r"no dense or 1 x 1 convolution layer of the network has a name that conv\.\* matches"),
        ((2, 1.0, "("), r"LoRA of rank 2, alpha 1.0, layers \("),
    ):
        with pytest.raises(InputError, match=words):
            add_low_rank(network, *arguments)
    with pytest.raises(ValueError, match="the summed axes of the kernel must be its first ones"):
        LowRankEinsumDense("ab,cb->ac", 4)(tf.ones([1, 3]))
