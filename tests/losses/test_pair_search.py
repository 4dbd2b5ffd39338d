"""Pairs, hardest negatives and sums over pairs, with tiles and blocks so small that there are many; and under XLA."""

import numpy as np
import pytest
import tensorflow as tf
from batches import make_batch
from keras_case import loss_and_gradient, value_and_gradient

from ddl_tf.losses import DDLLoss, distribution_distillation, group_similarities, pair_histograms, pair_search
from ddl_tf.losses.pair_search import Pairs, hardest_negatives, pair_similarities, sort_rows
from ddl_tf.losses.soft_histogram import Binning, group_sums


def random_rows(rows, groups, identities, seed):
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(rows, 8)).astype(np.float32)
    # Some identities are far more frequent than others; the numbers need not be small.
    identity = (random.integers(0, identities, rows) * random.integers(0, 2, rows)) * 10**12
    return embeddings, identity, random.integers(-1, groups, rows)


@pytest.mark.parametrize(
    "rows, groups, identities, tile",
    [
        *((*rows, (256, 512)) for rows in ((0, 1, 1), (1, 1, 1))),
        *((40, 4, 50, tile) for tile in ((1, 1), (64, 7))),
        (23, 2, 3, (3, 5)),
    ],
)
def test_hardest_negatives_are_the_naive_ones(rows, groups, identities, tile, monkeypatch):
    monkeypatch.setattr(pair_search, "TILE_ROWS", tile[0])
    monkeypatch.setattr(pair_search, "TILE_COLUMNS", tile[1])
    sorted_rows = sort_rows(*random_rows(rows, groups, identities, seed=rows))
    unit, group, run = (x.numpy() for x in (sorted_rows.embeddings, sorted_rows.group, sorted_rows.run))
    hardest = tf.function(lambda: hardest_negatives(sorted_rows))().numpy()
    for row in range(rows):
        others = np.flatnonzero((group == group[row]) & (run != run[row])) if group[row] >= 0 else []
        assert sorted_rows.has_negative[row] == (len(others) > 0)
        assert hardest[row] == (others[np.argmax(unit[others] @ unit[row])] if len(others) else row)


def test_rows_of_groups_beyond_take_no_part_and_groups_beyond_are_empty():
    embeddings, identity, group = random_rows(40, 4, 5, seed=2)
    group[:20] = np.arange(20) % 4
    for values, expected in zip(
        group_similarities(embeddings, identity, group, num_groups=2),
        group_similarities(embeddings, identity, np.where(group < 2, group, -1)),
    ):
        assert values.nrows() == 2
        np.testing.assert_array_equal(values.flat_values, expected.flat_values)
        np.testing.assert_array_equal(values.row_splits, expected.row_splits)
    for values in group_similarities(embeddings, identity, group, num_groups=6):
        assert values.row_lengths().numpy().tolist()[4:] == [0, 0]


@pytest.mark.parametrize("bandwidth, step", [(0.1, 7), (0.02, 1), (0.02, 4096)])
def test_positives_some_at_a_time_as_all_at_once(bandwidth, step, monkeypatch):
    monkeypatch.setattr(pair_histograms, "PAIRS_AT_A_TIME", step)
    # With the narrow kernel most similarities lie many bandwidths from the nodes, and the scale rises on the way.
    y_true, y_pred = (tf.constant(x) for x in make_batch(groups=3, identities=3, noise=3.0))
    binning, threshold = Binning(100, (0.9, 1.0), bandwidth), -0.6

    def all_at_once(rows, *_):
        first, second = (pairs := Pairs.of(rows)).rows(tf.range(pairs.count))
        similarities = pair_similarities(rows.embeddings, first, second)
        group = tf.where(similarities > threshold, tf.gather(rows.group, first), -1)
        return group_sums(similarities, group, rows.num_groups, binning)

    def parts(positive_sums):
        with tf.GradientTape() as tape:
            tape.watch(y_pred)
            sums = positive_sums(sort_rows(y_pred, y_true[:, 0], y_true[:, 1]), threshold, binning)
            nodes = tf.range(100.0) * tf.range(1.0, 4.0)[:, tf.newaxis]
            value = tf.reduce_sum(binning.smooth(sums.bins) * nodes) + tf.reduce_sum(sums.totals)
        return value, sums.counts, sums.totals, sums.log_scale, tape.gradient(value, y_pred)

    expected, values = parts(all_at_once), tf.function(parts)(pair_histograms.positive_sums)
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
