from pathlib import Path

import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from batches import make_batch

from ddl_tf.losses import HistogramLoss, probability_of_reverse

GOLDEN = np.load(Path(__file__).resolve().parents[1] / "golden" / "loss_golden.npz")


@pytest.mark.parametrize("case", ["fine", "coarse", "one positive"])
def test_equals_the_authors_code(case):
    similarities, same, num_bins, loss, expected = (
        GOLDEN[f"histogram/{case}/{key}"] for key in ("similarities", "same", "num_bins", "loss", "gradient")
    )
    variables = [tf.Variable(similarities[mask].astype(np.float32)) for mask in (same, ~same)]
    with tf.GradientTape() as tape:
        value = probability_of_reverse(*variables, num_bins=int(num_bins))
    np.testing.assert_allclose(value, loss, rtol=1e-5)
    gradient = np.concatenate([part.numpy() for part in tape.gradient(value, variables)])
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


@pytest.mark.parametrize("num_bins", [2, 3, 50])
def test_equals_the_naive_twin(num_bins):
    rng = np.random.default_rng(0)
    similarities = rng.uniform(-1, 1, 20), rng.uniform(-1, 1, 30)
    expected = naive_losses.probability_of_reverse(*similarities, num_bins)
    assert float(probability_of_reverse(*similarities, num_bins)) == pytest.approx(expected, rel=1e-4)


def test_a_cosine_just_above_one_counts_as_one():
    above = tf.Variable([1.0000001, 1.0])
    with tf.GradientTape() as tape:
        value = probability_of_reverse(above, [1.0], 11)
    assert float(value) == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(*tape.gradient(value, above).numpy())


def test_nothing_to_compare_is_zero():
    assert float(probability_of_reverse([], [0.5])) == float(probability_of_reverse([0.5], [])) == 0.0


def test_the_number_of_bins_counts_and_groups_do_not():
    y_true, y_pred = make_batch(groups=3)
    expected = naive_losses.histogram_loss(y_pred.astype(np.float64), y_true[:, 0], num_bins=7)
    for rows in (y_true, y_true * [1, 0]):
        assert float(HistogramLoss(num_bins=7)(rows, y_pred)) == pytest.approx(expected, rel=1e-5)
