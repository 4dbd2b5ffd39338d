"""Pairs and hardest negatives against naive loops, with tiles and blocks so small that there are many."""

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.losses import group_similarities, pair_search
from ddl_tf.losses.pair_search import Pairs, hardest_negatives, sort_rows


def random_rows(rows, groups, identities, seed):
    random = np.random.default_rng(seed)
    embeddings = random.normal(size=(rows, 8)).astype(np.float32)
    # Some identities are far more frequent than others; the numbers need not be small.
    identity = (random.integers(0, identities, rows) * random.integers(0, 2, rows)) * 10**12
    return embeddings, identity, random.integers(-1, groups, rows)


@pytest.mark.parametrize(
    "rows, groups, identities, tile",
    [
        *((*rows, (256, 512)) for rows in ((0, 1, 1), (1, 1, 1), (23, 2, 3))),
        *((40, 4, 50, tile) for tile in ((1, 1), (3, 5), (64, 7))),
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


@pytest.mark.parametrize("rows, groups, identities", [(0, 1, 1), (1, 1, 1), (30, 3, 4), (40, 2, 50)])
def test_pairs_are_numbered_without_gap(rows, groups, identities):
    _, identity, group = random_rows(rows, groups, identities, seed=1)
    # The direction of the embedding tells the identity.
    angle = np.unique(identity, return_inverse=True)[1]
    codes = np.stack([np.cos(angle), np.sin(angle)], 1)
    sorted_rows = sort_rows(codes, identity, group)
    pairs = Pairs.of(sorted_rows)
    first, second = (x.numpy() for x in pairs.rows(tf.range(pairs.count)))
    right = {
        (i, j)
        for i in range(rows)
        for j in range(i + 1, rows)
        if sorted_rows.group[i] == sorted_rows.group[j] >= 0
        and np.allclose(sorted_rows.embeddings[i], sorted_rows.embeddings[j])
    }
    assert len(first) == len(right)
    assert set(zip(first, second)) == right


def test_rows_of_groups_beyond_take_no_part():
    embeddings, identity, group = random_rows(40, 4, 5, seed=2)
    group[:20] = np.arange(20) % 4
    for values, expected in zip(
        group_similarities(embeddings, identity, group, num_groups=2),
        group_similarities(embeddings, identity, np.where(group < 2, group, -1)),
    ):
        assert values.nrows() == 2
        np.testing.assert_array_equal(values.flat_values, expected.flat_values)
        np.testing.assert_array_equal(values.row_splits, expected.row_splits)


def test_more_groups_than_the_batch_has_are_empty():
    for values in group_similarities(*random_rows(20, 1, 4, seed=3), num_groups=3):
        assert values.row_lengths().numpy().tolist()[1:] == [0, 0]
