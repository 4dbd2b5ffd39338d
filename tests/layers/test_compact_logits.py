import numpy as np
import pytest
import tensorflow as tf
from keras_case import loss_and_gradient

from ddl_tf.layers import Targets, compact_logits
from ddl_tf.losses import FocalLoss, LabelledAccuracy, MarginSoftmaxLoss, OHEMLoss

LABELS = np.array([0, 3, -1, 6, 6, 2, -1, 1])


@pytest.fixture
def logits():
    values = np.random.default_rng(0).normal(size=[8, 7]).astype(np.float32) * 6
    values[3, 6] = 40.0
    # Two largest others alike, and all alike.
    values[4, :2] = 20.0
    values[5] = 1.0
    return values


@pytest.mark.parametrize("make", [MarginSoftmaxLoss, FocalLoss, OHEMLoss])
def test_losses_of_compact_logits_are_those_of_all_logits(make, logits):
    compact = make(compact=True)
    expected, expected_gradient = loss_and_gradient(make(), LABELS, logits)
    value, gradient = loss_and_gradient(lambda y, x: compact(y, compact_logits(x, Targets(y))), LABELS, logits)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-5, atol=1e-7)


def test_columns_equal_the_naive_twin(logits):
    compact = compact_logits(tf.constant(logits), Targets(LABELS)).numpy()
    for row, label, (target, others, largest) in zip(logits.astype(np.float64), LABELS, compact):
        rest = np.delete(row, label) if label >= 0 else row
        assert target == (np.float32(row[label]) if label >= 0 else np.float32(-1e30))
        assert others == pytest.approx(np.log(np.sum(np.exp(rest))), rel=1e-5)
        assert largest == np.float32(rest.max())


def test_accuracy_of_compact_logits_is_that_of_all_logits(logits):
    # A tie, on which the two may differ.
    labels = np.where(np.arange(8) == 5, -1, LABELS)
    plain, compact = LabelledAccuracy(), LabelledAccuracy(compact=True)
    plain.update_state(labels, logits)
    compact.update_state(labels, compact_logits(tf.constant(logits), Targets(labels)))
    assert 0 < float(plain.result()) < 1
    assert float(compact.result()) == float(plain.result())
