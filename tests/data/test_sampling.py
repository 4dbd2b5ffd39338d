import zlib

import numpy as np
import pandas as pd
import pytest
from tiny_sets import assert_memory

from ddl_tf.common.errors import InputError
from ddl_tf.data.pools import StoredPairs
from ddl_tf.data.sampling import Mined, StreamSampler, StreamSizes


def make_index(identities=30, images=8, students=1, seed=0):
    """Every identity has images in every group, in random order."""
    rng = np.random.default_rng(seed)
    group = np.tile(np.arange(images) % (students + 1), identities)
    index = pd.DataFrame({"identity": np.repeat(np.arange(identities), images), "group": group})
    return index.iloc[rng.permutation(len(index))].reset_index(drop=True)


@pytest.fixture
def index():
    return make_index()


PAPER = StreamSizes(per_group=8, pairs_per_group=6)


@pytest.mark.parametrize("students", [1, 3])
def test_streams_have_their_sizes_and_different_identities(students):
    index = make_index(students=students)
    sampler = StreamSampler(index, PAPER)
    assert sampler.groups == list(range(students + 1))
    for step in range(20):
        rows = sampler.rows(step)
        assert all(len(column) == sampler.num_rows == (students + 1) * (8 + 12) for column in rows)
        assert len(set(rows.record)) == len(rows.record)
        for name in ("identity", "group"):
            np.testing.assert_array_equal(index[name].to_numpy()[rows.record], getattr(rows, name))
        for group in sampler.groups:
            mine = rows.group == group
            classified = rows.identity[mine & (rows.label >= 0)]
            assert len(classified) == len(set(classified)) == 8
            pairs = rows.identity[mine & (rows.label < 0)]
            identities, counts = np.unique(pairs, return_counts=True)
            assert len(identities) == 6
            assert set(counts) == {2}
            # Else one image could be in the group twice.
            assert not set(identities) & set(classified)


def test_pairs_across_hold_one_image_of_either_group(index):
    sampler = StreamSampler(index, StreamSizes(pairs_per_group=10, pairs_across=True, classify_pairs=True))
    own_group = index["group"].to_numpy()
    for step in range(10):
        rows = sampler.rows(step)
        np.testing.assert_array_equal(rows.label, rows.identity)
        hard = rows.group == 1
        assert hard.sum() == 20
        for identity in np.unique(rows.identity[hard]):
            of_pair = own_group[rows.record[hard & (rows.identity == identity)]]
            assert sorted(of_pair) == [0, 1]
        assert set(own_group[rows.record[~hard]]) == {0}


def test_identities_of_a_group_are_drawn_equally_often():
    """One identity has most of the images, and is drawn no more often than the others."""
    index = pd.DataFrame({"identity": [0] * 500 + [1, 2, 3, 4], "group": [0] * 504})
    sampler = StreamSampler(index, StreamSizes(per_group=1), seed=1)
    drawn = np.concatenate([sampler.rows(step).identity for step in range(3000)])
    counts = np.bincount(drawn)
    assert np.all(np.abs(counts - 600) < 5 * np.sqrt(600))


def test_shuffled_rows_see_every_image_once_an_epoch(index):
    sampler = StreamSampler(index, StreamSizes(shuffled=48))
    epochs = [np.concatenate([sampler.rows(5 * epoch + step).record for step in range(5)]) for epoch in range(3)]
    for epoch in epochs:
        assert sorted(epoch) == list(range(len(index)))
    assert not np.array_equal(epochs[0], epochs[1])
    rows = sampler.rows(0)
    assert set(rows.group) == {-1}
    np.testing.assert_array_equal(rows.label, rows.identity)


@pytest.mark.parametrize("size", [7, 500])
def test_steps_across_the_end_of_an_epoch_lose_and_repeat_nothing(index, size):
    sampler = StreamSampler(index, StreamSizes(shuffled=size))
    records = np.concatenate([sampler.rows(step).record for step in range(len(index))])
    assert set(np.bincount(records, minlength=len(index))) == {size}


def test_a_step_depends_on_the_seed_and_itself_alone(index):
    sizes = StreamSizes(shuffled=8, per_group=6, pairs_per_group=4)
    forwards, backwards = StreamSampler(index, sizes, seed=4), StreamSampler(index, sizes, seed=4)
    steps = range(60)
    ahead = [forwards.rows(step) for step in steps]
    behind = [backwards.rows(step) for step in reversed(steps)][::-1]
    for a, b in zip(ahead, behind):
        for x, y in zip(a, b):
            np.testing.assert_array_equal(x, y)
    # Every half of a batch, as a replica gets it, has rows of every group.
    half = len(ahead[0].group) // 2
    assert set(ahead[0].group[:half]) == set(ahead[0].group[half:]) == {-1, 0, 1}
    assert not np.array_equal(ahead[0].record, ahead[1].record)
    assert not np.array_equal(ahead[0].record, StreamSampler(index, sizes, seed=5).rows(0).record)


def test_few_identities_are_repeated_evenly():
    rows = StreamSampler(make_index(6, 4), StreamSizes(per_group=4, pairs_per_group=5)).rows(0)
    assert [(rows.group == group).sum() for group in (0, 1)] == [14, 14]
    rows = StreamSampler(make_index(5, 4), StreamSizes(per_group=12)).rows(0)
    for group in (0, 1):
        assert set(np.bincount(rows.identity[rows.group == group], minlength=5)) == {2, 3}


def test_steps_per_epoch(index):
    for sizes in (StreamSizes(shuffled=50), StreamSizes(per_group=24), StreamSizes(pairs_per_group=12)):
        assert StreamSampler(index, sizes).steps_per_epoch == 5


ACROSS = StreamSizes(pairs_per_group=1, pairs_across=True)
SHARED = StreamSizes(pairs_per_group=2, shared_identities=True)


@pytest.mark.parametrize(
    ("index", "sizes", "message"),
    [
        (make_index(0, 0), PAPER, "no images"),
        (make_index().assign(group=-1), PAPER, "groups \\[\\]"),
        (make_index().assign(group=2), PAPER, "groups \\[2\\]"),
        (make_index(5, 2), PAPER, "group 0 has no positive pair"),
        (make_index(5, 1).assign(group=[0, 0, 0, 1, 1]), ACROSS, "no positive"),
        (make_index().eval("group = identity % 2"), SHARED, "no identity has positive pairs in every group"),
    ],
)
def test_what_cannot_be_drawn(index, sizes, message):
    with pytest.raises(InputError, match=message):
        StreamSampler(index, sizes)


def test_bad_sizes():
    for sizes, message in (
        ({"per_group": -1}, r"per_group.*-1"),
        ({}, "must have rows"),
        ({"per_group": 1, "confusable": 0}, "confusable must be at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            StreamSizes(**sizes)


def stored_pairs(index, rng, per_identity=3):
    """Random pairs of every identity and group, as `mine pairs` stores them."""
    parts = []
    for (_, group), rows in index.groupby(["identity", "group"]):
        for _ in range(per_identity):
            parts.append((group, *rng.choice(rows.index.to_numpy(), 2, replace=False)))
    return StoredPairs(*map(np.array, zip(*parts)))


def test_stored_pairs_are_drawn_instead_of_random_ones(index):
    pairs = stored_pairs(index, np.random.default_rng(0))
    stored = {(group, *sorted(pair)) for group, *pair in zip(*(column.tolist() for column in pairs))}
    sampler = StreamSampler(index, PAPER, pairs=pairs)
    drawn = set()
    for step in range(60):
        rows = sampler.rows(step)
        for group in (0, 1):
            paired = (rows.group == group) & (rows.label < 0)
            for identity in set(rows.identity[paired]):
                drawn.add((group, *sorted(rows.record[paired & (rows.identity == identity)].tolist())))
    assert drawn <= stored
    assert len(drawn) > 0.8 * len(stored)
    with pytest.raises(InputError, match="group 1 has no stored positive pair"):
        StreamSampler(index, PAPER, pairs=StoredPairs(*(column[pairs.group == 0] for column in pairs)))


def test_shared_identities_are_in_the_pairs_of_all_groups():
    sampler = StreamSampler(make_index(students=2), StreamSizes(pairs_per_group=5, shared_identities=True))
    seen = set()
    for step in range(30):
        rows = sampler.rows(step)
        of_group = [set(rows.identity[rows.group == group]) for group in (0, 1, 2)]
        assert of_group[0] == of_group[1] == of_group[2]
        assert len(of_group[0]) == 5
        seen |= of_group[0]
    assert len(seen) == 30


def test_a_made_student_has_the_teacher_s_images(index):
    easy = index[index["group"] == 0].reset_index(drop=True)
    sampler = StreamSampler(easy, StreamSizes(per_group=4, pairs_per_group=3, made_student=True))
    assert sampler.groups == [0, 1]
    for step in range(10):
        rows = sampler.rows(step)
        assert (rows.group == 1).sum() == (rows.group == 0).sum() == 10
        np.testing.assert_array_equal(easy["identity"].to_numpy()[rows.record], rows.identity)


def nearest_by_number(identities, count):
    """Neighbours of an identity are the next numbers."""
    return (np.arange(identities)[:, None] + np.arange(1, count + 1)) % identities


def test_confusable_identities_come_in_clusters(index):
    neighbours = nearest_by_number(30, 8)
    clusters = StreamSizes(per_group=8, pairs_per_group=4, confusable=4)
    sampler = StreamSampler(index, clusters, neighbours=lambda step: neighbours)
    plain = StreamSampler(index, StreamSizes(per_group=8, pairs_per_group=4))
    # How many identities of a group's rows have the next one beside them, naively.
    counts = {sampler: 0, plain: 0}
    for step in range(30):
        for drawn in counts:
            rows = drawn.rows(step)
            for group in (0, 1):
                mine = rows.group == group
                identities = set(rows.identity[mine])
                counts[drawn] += sum((identity + 1) % 30 in identities for identity in identities)
                classified, pairs = rows.identity[mine & (rows.label >= 0)], rows.identity[mine & (rows.label < 0)]
                assert len(set(classified)) == len(classified) == 8
                assert len(set(pairs)) == 4
                assert not set(pairs) & set(classified)
    assert counts[sampler] > 1.5 * counts[plain]


def test_confusable_identities_are_drawn_as_often_as_others():
    """The first of a cluster is drawn evenly, so with symmetric neighbours every identity is."""
    index = pd.DataFrame({"identity": np.arange(20), "group": 0})
    neighbours = nearest_by_number(20, 3)
    sampler = StreamSampler(index, StreamSizes(per_group=4, confusable=2), neighbours=lambda step: neighbours)
    counts = np.bincount(np.concatenate([sampler.rows(step).identity for step in range(2000)]))
    assert np.all(np.abs(counts - 400) < 6 * np.sqrt(400))


def test_what_training_mined_is_drawn_from_its_step_on(index):
    group = index["group"].to_numpy()
    mined = [None, Mined(1, 1 - group, None), Mined(2, group, stored_pairs(index, np.random.default_rng(1)))]
    sampler = StreamSampler(index, PAPER, mined=lambda step: mined[step // 10])
    # Threads may ask for the steps of two periods in turn.
    for step in (0, 10, 9, 19, 20, 12, 29):
        rows = sampler.rows(step)
        expected = 1 - group if step // 10 == 1 else group
        np.testing.assert_array_equal(expected[rows.record], rows.group)
    np.testing.assert_array_equal(sampler.rows(5).record, StreamSampler(index, PAPER).rows(5).record)


@pytest.fixture(scope="module")
def large_index():
    """A row for each of 200,000 images, sorted by identity as RecordIO sets are."""
    rng = np.random.default_rng(0)
    return pd.DataFrame({"identity": np.sort(rng.integers(0, 3000, 200_000)), "group": rng.integers(-1, 2, 200_000)})


@pytest.mark.parametrize(
    ("sizes", "mixed", "checksum"),
    [
        (StreamSizes(32, 32, 32), False, 3882218406),
        (StreamSizes(32, 32, 32), True, 1970409584),
        (StreamSizes(pairs_per_group=64), False, 2401088319),
        (StreamSizes(per_group=16, pairs_per_group=16, pairs_across=True, classify_pairs=True), True, 69259145),
        (StreamSizes(shuffled=64), False, 1133598452),
    ],
)
def test_draws_of_a_seed_stay_the_same(large_index, sizes, mixed, checksum):
    """A run that an earlier version began goes on with the same batches."""
    index = large_index.sample(frac=1, random_state=1).reset_index(drop=True) if mixed else large_index
    sampler = StreamSampler(index, sizes, seed=5)
    drawn = 0
    for step in (0, 1, 2, 500, 6249, 6250, 6251, 100_000):
        for column in sampler.rows(step):
            drawn = zlib.crc32(column.tobytes(), drawn)
    assert drawn == checksum


def test_memory_is_a_fraction_of_that_of_the_index(large_index):
    size = large_index.memory_usage(index=False).sum()
    with assert_memory(held=size, peak=2 * size):
        sampler = StreamSampler(large_index, StreamSizes(32, 32, 32))
        sampler.rows(0)
