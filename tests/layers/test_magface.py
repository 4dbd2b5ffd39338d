import math

import numpy as np
import pytest
import tensorflow as tf
from naive_heads import at_cosines, naive_logits, naive_margin

from ddl_tf.layers import MagFace
from ddl_tf.losses import MarginSoftmaxLoss

LABELS = np.array([0, 3, -1, 6, 6, -1])
NORMS = [5.0, 10.0, 40.0, 70.0, 109.0, 300.0]


def embeddings_of_norms():
    directions = np.random.default_rng(0).normal(size=[6, 5])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (directions * np.array(NORMS)[:, np.newaxis]).astype(np.float32)


def naive_margin_of_norm(norm):
    norm = min(max(norm, 10.0), 110.0)
    return 0.45 + (0.8 - 0.45) * (norm - 10.0) / (110.0 - 10.0)


def test_equals_the_naive_twin():
    head = MagFace(7)
    logits = head(embeddings_of_norms(), LABELS)
    expected = naive_logits(
        embeddings_of_norms(),
        head.class_centers.numpy(),
        LABELS,
        lambda row, theta: naive_margin(theta, m2=naive_margin_of_norm(NORMS[row])),
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)


def test_the_regulariser_is_that_of_the_labelled_rows():
    head = MagFace(7, lambda_g=3.0)
    head(embeddings_of_norms(), LABELS)
    labelled = [min(max(norm, 10.0), 110.0) for norm, label in zip(NORMS, LABELS) if label >= 0]
    expected = 3.0 * sum(1 / norm + norm / 110.0**2 for norm in labelled) / len(labelled)
    (loss,) = head.losses
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(head.magnitude_loss.result()) == pytest.approx(expected, rel=1e-5)
    head(embeddings_of_norms())
    assert head.losses == []


def test_keras_adds_the_regulariser_and_shows_it():
    inputs = [tf.keras.Input([5]), tf.keras.Input([], dtype=tf.int32)]
    model = tf.keras.Model(inputs, MagFace(7)(*inputs))
    model.compile("sgd", MarginSoftmaxLoss())
    rows = (embeddings_of_norms(), LABELS)
    alone = float(MarginSoftmaxLoss()(LABELS, model(rows)))
    for log in (
        model.evaluate(rows, LABELS, verbose=0, return_dict=True),
        model.train_on_batch(rows, LABELS, return_dict=True),
    ):
        assert log["magnitude_loss"] > 0.1
        assert log["loss"] == pytest.approx(alone + log["magnitude_loss"], rel=1e-5)


def test_the_regulariser_lengthens_embeddings_within_the_bounds_only():
    head = MagFace(7)
    embeddings = tf.constant(embeddings_of_norms())
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        head(embeddings, np.zeros(6, np.int32))
        (loss,) = head.losses
    along = tf.reduce_sum(tape.gradient(loss, embeddings) * embeddings, axis=1) / np.array(NORMS)
    expected = 35.0 / 6 * np.array([1 / 110.0**2 - 1 / norm**2 for norm in NORMS[2:5]])
    np.testing.assert_allclose(along[2:5], expected, rtol=1e-4)
    np.testing.assert_array_equal(along.numpy()[[0, 5]], 0.0)


@pytest.mark.parametrize("norm", [1.0, 30.0, 110.0, 500.0])
def test_falls_strictly_with_the_angle(norm):
    head = MagFace(2, scale=1.0, u_margin=3.0)
    embeddings, labels = at_cosines(head, np.cos(np.linspace(0, math.pi, 500)), norm)
    assert np.all(np.diff(head(embeddings, labels)[:, 0].numpy()) < 0)


@pytest.mark.parametrize(
    "arguments, message",
    [
        ({"l_a": 0.0}, "0 < l_a < u_a, got l_a 0.0, u_a 110.0"),
        ({"l_a": 120.0}, "0 < l_a < u_a, got l_a 120.0, u_a 110.0"),
        ({"l_margin": -0.1}, "got l_margin -0.1, u_margin 0.8"),
        ({"l_margin": 0.9}, "0 <= l_margin <= u_margin < pi, got l_margin 0.9, u_margin 0.8"),
        ({"u_margin": 3.2}, "got l_margin 0.45, u_margin 3.2"),
        ({"lambda_g": -1.0}, "lambda_g must not be negative, and finite, got -1.0"),
        ({"lambda_g": float("nan")}, "got nan"),
    ],
)
def test_bad_arguments(arguments, message):
    with pytest.raises(ValueError, match=message):
        MagFace(3, **arguments)
