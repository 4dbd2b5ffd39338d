import functools

import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_replicated_loss, loss_and_gradient

from ddl_tf.losses import FocalLoss, MarginSoftmaxLoss, OHEMLoss


@pytest.fixture
def batch():
    """20 rows with 16 labels, so that a half, a quarter and a sixteenth are whole numbers of rows."""
    rng = np.random.default_rng(0)
    labels = np.where(np.arange(20) % 5 == 3, -1, rng.integers(0, 7, 20))
    return labels, (rng.normal(size=(20, 7)) * 3).astype(np.float32)


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0, 2.0, 5.0])
def test_focal_loss_equals_the_naive_twin(batch, gamma):
    value, gradient = loss_and_gradient(FocalLoss(gamma), *batch)
    assert value == pytest.approx(naive_losses.focal(*batch, gamma), rel=1e-5)
    labels, logits = batch
    for row, column in [(0, 0), (5, labels[5]), (19, 2)]:
        step = np.zeros(logits.shape)
        step[row, column] = 1e-6
        numeric = (
            naive_losses.focal(labels, logits + step, gamma) - naive_losses.focal(labels, logits - step, gamma)
        ) / 2e-6
        assert gradient[row, column] == pytest.approx(numeric, rel=1e-3, abs=1e-6)


@pytest.mark.parametrize("gamma", [0.0, 0.1, 1.0, 2.0])
def test_focal_loss_is_finite_for_certain_rows(gamma):
    logits = tf.constant([[80.0, -80.0], [-80.0, 80.0], [1e4, 0.0], [0.0, 1e4]])
    value, gradient = loss_and_gradient(FocalLoss(gamma), tf.zeros([4], tf.int32), logits)
    assert value == pytest.approx((160.0 + 1e4) / 4)
    assert np.all(np.isfinite(gradient))


@pytest.mark.parametrize("fraction, kept", [(1.0, 16), (0.5, 8), (0.25, 4), (0.0625, 1), (0.3, 5), (0.001, 1)])
def test_ohem_equals_the_naive_twin(batch, fraction, kept):
    value, gradient = loss_and_gradient(OHEMLoss(fraction), *batch)
    assert value == pytest.approx(naive_losses.ohem(*batch, kept), rel=1e-5)
    rows = np.any(gradient != 0, axis=1)
    assert rows.sum() == kept
    assert not rows[batch[0] < 0].any()


def test_ohem_keeps_the_ties_of_the_last_row():
    logits = tf.constant([[0.0, 3.0], [0.0, 0.0], [0.0, 0.0], [9.0, 0.0]])
    labels = tf.zeros([4], tf.int32)
    hard, tied = np.log(1 + np.exp(3.0)), np.log(2.0)
    assert float(OHEMLoss(0.5)(labels, logits)) == pytest.approx((hard + 2 * tied) / 3, rel=1e-6)
    assert float(OHEMLoss(0.25)(labels, logits)) == pytest.approx(hard, rel=1e-6)


def test_ohem_shows_a_loss_that_is_not_a_number(batch):
    labels, logits = batch
    logits[4] = np.nan
    assert labels[4] >= 0
    assert np.isnan(float(OHEMLoss(0.25)(labels, logits)))
    assert np.isnan(float(OHEMLoss(0.25)(labels, np.full_like(logits, np.nan))))


@pytest.mark.parametrize("make", [MarginSoftmaxLoss, FocalLoss, OHEMLoss])
@pytest.mark.parametrize("rows", [0, 5])
def test_no_labelled_row_gives_zero_loss_and_gradient(make, rows):
    value, gradient = loss_and_gradient(make(), tf.fill([rows], -1), tf.ones([rows, 3]))
    assert value == 0.0
    assert not gradient.any()


@pytest.mark.parametrize("weighted", [False, True])
@pytest.mark.parametrize(
    "make, rows_of_the_first_replica",
    [
        (functools.partial(MarginSoftmaxLoss, 0.1), 13),
        (FocalLoss, 13),
        *((functools.partial(OHEMLoss, 0.25), rows) for rows in (10, 13, 20)),
    ],
)
def test_two_replicas_equal_one_device(two_replicas, batch, make, rows_of_the_first_replica, weighted):
    labels, logits = batch
    logits[:10] *= 0.1  # the hardest rows are not spread evenly
    weights = [np.linspace(0, 3, 20, dtype=np.float32)] if weighted else []
    check_replicated_loss(two_replicas, make, rows_of_the_first_replica, labels, logits, *weights)
