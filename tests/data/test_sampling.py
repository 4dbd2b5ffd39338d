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
    for step in range(20):
        rows = sampler.rows(step)
        assert all(len(column) == sampler.num_rows == (students + 1) * (8 + 12) for column in rows)
        assert len(set(rows.record)) == len(rows.record)
        for name in ("identity", "group"):
            np.testing.assert_array_equal(index[name].to_numpy()[rows.record], getattr(rows, name))
        for group in range(students + 1):
            identity, label = rows.identity[rows.group == group], rows.label[rows.group == group]
            classified, pairs = identity[label >= 0], identity[label < 0]
            identities, counts = np.unique(pairs, return_counts=True)
            assert len(classified) == len(set(classified)) == 8
            assert counts.tolist() == [2] * 6
            # Else one image could be in the group twice.
            assert not set(identities) & set(classified)


def test_pairs_across_hold_one_image_of_either_group(index):
    sampler = StreamSampler(index, StreamSizes(pairs_per_group=10, pairs_across=True, classify_pairs=True))
    for step in range(10):
        rows = sampler.rows(step)
        np.testing.assert_array_equal(rows.label, rows.identity)
        groups = pd.Series(index["group"].to_numpy()[rows.record])
        of_pairs = groups.groupby([rows.group, rows.identity]).agg(sorted)
        assert of_pairs[1].tolist() == [[0, 1]] * 10
        assert of_pairs[0].tolist() == [[0, 0]] * 10


@pytest.mark.parametrize("size", [7, 500])
def test_steps_across_the_end_of_an_epoch_lose_and_repeat_nothing(index, size):
    sampler = StreamSampler(index, StreamSizes(shuffled=size))
    steps = [sampler.rows(step) for step in range(len(index))]
    assert set(np.bincount(np.concatenate([rows.record for rows in steps]), minlength=len(index))) == {size}
    assert set(steps[0].group) == {-1}
    np.testing.assert_array_equal(steps[0].label, index["identity"].to_numpy()[steps[0].record])


def test_a_step_depends_on_the_seed_and_itself_alone(index):
    sizes = StreamSizes(shuffled=8, per_group=6, pairs_per_group=4)
    forwards, backwards = StreamSampler(index, sizes, seed=4), StreamSampler(index, sizes, seed=4)
    ahead = [forwards.rows(step) for step in range(60)]
    behind = [backwards.rows(step) for step in range(60)[::-1]][::-1]
    np.testing.assert_equal(ahead, behind)
    # Every half of a batch, as a replica gets it, has rows of every group.
    half = len(ahead[0].group) // 2
    assert set(ahead[0].group[:half]) == set(ahead[0].group[half:]) == {-1, 0, 1}
    for other in (ahead[1], StreamSampler(index, sizes, seed=5).rows(0)):
        assert not np.array_equal(ahead[0].record, other.record)


def test_few_identities_are_repeated_evenly(index):
    rows = StreamSampler(make_index(6, 4), StreamSizes(per_group=4, pairs_per_group=5)).rows(0)
    assert np.bincount(rows.group).tolist() == [14, 14]
    rows = StreamSampler(make_index(5, 4), StreamSizes(per_group=12)).rows(0)
    for group in (0, 1):
        assert set(np.bincount(rows.identity[rows.group == group], minlength=5)) == {2, 3}
    for sizes in (StreamSizes(shuffled=50), StreamSizes(per_group=24), StreamSizes(pairs_per_group=12)):
        assert StreamSampler(index, sizes).steps_per_epoch == 5


def test_what_cannot_be_drawn():
    shared = StreamSizes(pairs_per_group=2, shared_identities=True)
    for table, sizes, message in (
        (make_index(0, 0), PAPER, "no images"),
        (make_index().assign(group=-1), PAPER, "groups \\[\\]"),
        (make_index().assign(group=2), PAPER, "groups \\[2\\]"),
        (make_index(5, 2), PAPER, "group 0 has no positive pair"),
        (
            make_index(5, 1).assign(group=[0, 0, 0, 1, 1]),
            StreamSizes(pairs_per_group=1, pairs_across=True),
            "no positive",
        ),
        (make_index().eval("group = identity % 2"), shared, "no identity has positive pairs in every group"),
    ):
        with pytest.raises(InputError, match=message):
            StreamSampler(table, sizes)
    for sizes, message in (
        ({"per_group": -1}, r"per_group.*-1"),
        ({}, "must have rows"),
        ({"per_group": 1, "confusable": 0}, "confusable must be at least 1"),
    ):
        with pytest.raises(InputError, match=message):
            StreamSizes(**sizes)


def stored_pairs(index, rng):
    """Three random pairs of every identity and group, as `mine pairs` stores them."""
    parts = [
        (group, *rng.choice(rows.index.to_numpy(), 2, replace=False))
        for (_, group), rows in index.groupby(["identity", "group"])
        for _ in range(3)
    ]
    return StoredPairs(*map(np.array, zip(*parts)))


def test_stored_pairs_are_drawn_instead_of_random_ones(index):
    pairs = stored_pairs(index, np.random.default_rng(0))
    stored = {(group, *sorted(pair)) for group, *pair in zip(*(column.tolist() for column in pairs))}
    sampler, drawn = StreamSampler(index, PAPER, pairs=pairs), set()
    for step in range(60):
        rows = sampler.rows(step)
        paired = pd.DataFrame({"group": rows.group, "identity": rows.identity, "record": rows.record})[rows.label < 0]
        drawn |= {(group, *sorted(records)) for (group, _), records in paired.groupby(["group", "identity"])["record"]}
    assert drawn <= stored
    assert len(drawn) > 0.8 * len(stored)
    with pytest.raises(InputError, match="group 1 has no stored positive pair"):
        StreamSampler(index, PAPER, pairs=StoredPairs(*(column[pairs.group == 0] for column in pairs)))


def test_a_made_student_has_the_teacher_s_images_and_groups_may_share_identities(index):
    easy = index[index["group"] == 0].reset_index(drop=True)
    made = StreamSampler(easy, StreamSizes(per_group=4, pairs_per_group=3, made_student=True))
    shared = StreamSampler(make_index(students=2), StreamSizes(pairs_per_group=5, shared_identities=True))
    seen = set()
    for step in range(30):
        rows = made.rows(step)
        assert np.bincount(rows.group).tolist() == [10, 10]
        np.testing.assert_array_equal(easy["identity"].to_numpy()[rows.record], rows.identity)
        rows = shared.rows(step)
        of_group = [set(rows.identity[rows.group == group]) for group in (0, 1, 2)]
        assert of_group[0] == of_group[1] == of_group[2]
        assert len(of_group[0]) == 5
        seen |= of_group[0]
    assert len(seen) == 30


def test_confusable_identities_come_in_clusters(index):
    """Neighbours of an identity are the next numbers."""
    neighbours = (np.arange(30)[:, None] + np.arange(1, 9)) % 30
    clusters = StreamSizes(per_group=8, pairs_per_group=4, confusable=4)
    counts = []
    for sampler in (
        StreamSampler(index, clusters, neighbours=lambda step: neighbours),
        StreamSampler(index, StreamSizes(per_group=8, pairs_per_group=4)),
    ):
        # How many identities of a group's rows have the next one beside them, naively.
        counts.append(0)
        for step in range(30):
            rows = sampler.rows(step)
            for group in (0, 1):
                mine = rows.group == group
                identities = set(rows.identity[mine])
                counts[-1] += sum((identity + 1) % 30 in identities for identity in identities)
                assert len(set(rows.identity[mine & (rows.label >= 0)])) == 8
                assert len(identities) == 12
    assert counts[0] > 1.5 * counts[1]


@pytest.mark.parametrize("neighbours", [None, (np.arange(20)[:, None] + np.arange(1, 4)) % 20])
def test_every_identity_is_drawn_as_often(neighbours):
    """One has most of the images; of a cluster the first is drawn evenly, and the neighbours are symmetric."""
    index = pd.DataFrame({"identity": [0] * 500 + list(range(1, 20)), "group": 0})
    sizes = StreamSizes(per_group=4, confusable=1 if neighbours is None else 2)
    sampler = StreamSampler(index, sizes, neighbours=lambda step: neighbours)
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


def test_draws_of_a_seed_stay_the_same_and_memory_is_a_fraction_of_that_of_the_index():
    """A run that an earlier version began goes on with the same batches."""
    rng = np.random.default_rng(0)
    # Sorted by identity as RecordIO sets are.
    identity, group = np.sort(rng.integers(0, 3000, 200_000)), rng.integers(-1, 2, 200_000)
    ordered = pd.DataFrame({"identity": identity, "group": group})
    mixed = ordered.sample(frac=1, random_state=1).reset_index(drop=True)
    across = StreamSizes(per_group=16, pairs_per_group=16, pairs_across=True, classify_pairs=True)
    for sizes, index, checksum in (
        (StreamSizes(32, 32, 32), ordered, 3882218406),
        (StreamSizes(32, 32, 32), mixed, 1970409584),
        (StreamSizes(pairs_per_group=64), ordered, 2401088319),
        (across, mixed, 69259145),
        (StreamSizes(shuffled=64), ordered, 1133598452),
    ):
        sampler, drawn = StreamSampler(index, sizes, seed=5), 0
        for step in (0, 1, 2, 500, 6249, 6250, 6251, 100_000):
            for column in sampler.rows(step):
                drawn = zlib.crc32(column.tobytes(), drawn)
        assert drawn == checksum, sizes
    size = ordered.memory_usage(index=False).sum()
    with assert_memory(held=size, peak=2 * size):
        sampler = StreamSampler(ordered, StreamSizes(32, 32, 32))
        sampler.rows(0)
