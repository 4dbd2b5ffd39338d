"""Sums over pairs made some pairs at a time, and what is made of them under XLA."""

import numpy as np
import pytest
import tensorflow as tf
from batches import make_batch
from keras_case import loss_and_gradient, value_and_gradient

from ddl_tf.losses import DDLLoss, distribution_distillation, pair_histograms
from ddl_tf.losses.pair_search import Pairs, pair_similarities, sort_rows
from ddl_tf.losses.soft_histogram import Binning, group_sums


def all_at_once(rows, threshold, binning):
    pairs = Pairs.of(rows)
    first, second = pairs.rows(tf.range(pairs.count))
    similarities = pair_similarities(rows.embeddings, first, second)
    group = tf.where(similarities > threshold, tf.gather(rows.group, first), -1)
    return group_sums(similarities, group, rows.num_groups, binning)


def value_of(positive_sums, y_true, y_pred, bandwidth):
    """Some number made of the sums of the positives, their parts, and the gradient."""
    binning = Binning(100, (0.9, 1.0), bandwidth)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        sums = positive_sums(sort_rows(y_pred, y_true[:, 0], y_true[:, 1]), -0.6, binning)
        nodes = tf.range(100.0) * tf.range(1.0, 4.0)[:, tf.newaxis]
        value = tf.reduce_sum(binning.smooth(sums.bins) * nodes) + tf.reduce_sum(sums.totals)
    return value, sums.counts, sums.totals, sums.log_scale, tape.gradient(value, y_pred)


@pytest.mark.parametrize("bandwidth, step", [(0.1, 7), (0.02, 1), (0.02, 4096)])
def test_positives_some_at_a_time_as_all_at_once(bandwidth, step, monkeypatch):
    monkeypatch.setattr(pair_histograms, "PAIRS_AT_A_TIME", step)
    # With the narrow kernel most similarities lie many bandwidths from the nodes, and the scale rises on the way.
    y_true, y_pred = (tf.constant(x) for x in make_batch(groups=3, identities=3, noise=3.0))
    expected = value_of(all_at_once, y_true, y_pred, bandwidth)
    values = tf.function(lambda: value_of(pair_histograms.positive_sums, y_true, y_pred, bandwidth))()
    for value, right in zip(values, expected):
        np.testing.assert_allclose(value, right, rtol=1e-4, atol=1e-5 * np.abs(right).max())
    assert np.abs(expected[-1]).max() > 0


def test_xla_compiles_value_and_gradient():
    """Of two groups, and two more that are empty."""
    loss = DDLLoss(num_groups=4, positive_threshold=0.2)
    y_true, y_pred = make_batch(groups=2, identities=7)
    value, gradient = tf.function(value_and_gradient, jit_compile=True)(loss, tf.constant(y_true), tf.constant(y_pred))
    expected, expected_gradient = loss_and_gradient(DDLLoss(positive_threshold=0.2), y_true, y_pred)
    assert float(value) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, rtol=1e-4, atol=1e-6)


def test_rows_that_take_no_part_may_be_anything():
    y_true, y_pred = make_batch()
    y_true[::5, 1] = -1
    used = y_true[:, 1] >= 0
    expected, expected_gradient = loss_and_gradient(DDLLoss(), y_true, y_pred)
    value, gradient = loss_and_gradient(DDLLoss(), y_true, np.where(used[:, None], y_pred, np.float32(np.nan)))
    assert value == pytest.approx(expected, rel=1e-6)
    np.testing.assert_allclose(gradient[used], expected_gradient[used], rtol=1e-5, atol=1e-7)


def test_a_ragged_tensor_is_the_list_of_its_rows():
    rows = [[0.8, 0.7, 0.6], [0.4], []]
    by_list = distribution_distillation(rows, rows[::-1])
    by_ragged = distribution_distillation(tf.ragged.constant(rows), tf.ragged.constant(rows[::-1], dtype=tf.float32))
    assert float(by_list.loss) == float(by_ragged.loss) != 0.0
    assert by_list.has_positives.numpy().tolist() == [True, True, False]
