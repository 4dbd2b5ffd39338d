import collections
import itertools

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.protocols.people import balanced_pairs, check_people, open_set_splits, people_pairs

# Seven people with 1 to 9 images, mixed.
SIZES = {"a": 1, "b": 2, "c": 3, "d": 9, "e": 4, "f": 1, "g": 6}
PEOPLE = np.random.default_rng(0).permutation(np.repeat(list(SIZES), list(SIZES.values())))


def as_sets(first, second):
    return [frozenset(pair) for pair in zip(np.asarray(first).tolist(), np.asarray(second).tolist())]


@pytest.mark.parametrize("count", [0, 1, 2, 3, 4, 7, 10])
def test_balanced_pairs(count):
    everything = {frozenset(pair) for pair in itertools.combinations(range(count), 2)}
    for most in (*range(len(everything) + 2), 10_000):
        pairs = as_sets(*balanced_pairs(count, most, np.random.default_rng(most)))
        assert len(set(pairs)) == len(pairs) == min(most, len(everything))
        assert set(pairs) <= everything
        degrees = collections.Counter(itertools.chain.from_iterable(pairs))
        assert max(degrees.values(), default=0) - min(degrees[thing] for thing in range(count)) <= 2 if count else True


def test_all_pairs_are_those_of_the_naive_loop():
    pairs = people_pairs(PEOPLE, 0, 0, seed=1)
    expected = {frozenset(pair): PEOPLE[pair[0]] == PEOPLE[pair[1]] for pair in itertools.combinations(range(26), 2)}
    assert dict(zip(as_sets(pairs.first, pairs.second), pairs.same.tolist())) == expected
    assert len(pairs.same) == len(expected)
    # Those of one person first.
    assert np.all(np.diff(pairs.same.astype(int)) <= 0)
    # More than there are is all too.
    assert len(people_pairs(PEOPLE, 10**6, 10**6, seed=1).same) == len(expected)


def test_drawn_pairs_are_balanced_over_people_and_images():
    pairs = people_pairs(PEOPLE, 5, 42, seed=3)
    keys = as_sets(pairs.first, pairs.second)
    assert len(set(keys)) == len(keys)
    np.testing.assert_array_equal(PEOPLE[pairs.first] == PEOPLE[pairs.second], pairs.same)
    of_person = collections.Counter(PEOPLE[pairs.first[pairs.same]].tolist())
    assert of_person == {name: min(5, size * (size - 1) // 2) for name, size in SIZES.items() if size > 1}
    two = [frozenset(pair) for pair in zip(PEOPLE[pairs.first].tolist(), PEOPLE[pairs.second].tolist())]
    two = [pair for pair, same in zip(two, pairs.same) if not same]
    assert len(two) == 42
    # 21 pairs of people: two pairs of images of each, but one of a and f, who have one image each.
    counts = collections.Counter(two)
    assert counts.pop(frozenset("af")) == 1
    assert sorted(counts.values()) == [2] * 19 + [3]
    # Fewer than pairs of people: everybody as often as the others.
    few = people_pairs(PEOPLE, 1, 14, seed=3)
    people = np.concatenate([PEOPLE[side[~few.same]] for side in (few.first, few.second)])
    assert sorted(collections.Counter(people.tolist()).values()) == [4] * 7
    # Of two people with 4 and 6 images, 12 pairs take each image of the first three times, of the second twice.
    people = np.repeat(["a", "b"], [4, 6])
    pairs = people_pairs(people, 1, 12, seed=0)
    images = np.concatenate([pairs.first[~pairs.same], pairs.second[~pairs.same]])
    assert np.bincount(images, minlength=10).tolist() == [3] * 4 + [2] * 6


def test_equal_seeds_are_equal_pairs_and_splits():
    for make in (
        lambda seed: people_pairs(PEOPLE, 4, 30, seed),
        lambda seed: open_set_splits(PEOPLE, 0.4, 2, 1, seed)[0],
    ):
        for one, two in zip(make(5), make(5)):
            np.testing.assert_array_equal(one, two)
        assert any(not np.array_equal(one, other) for one, other in zip(make(5), make(6)))
    # How many pairs of one person are drawn does not change the others.
    few, many = (people_pairs(PEOPLE, most, 30, 5) for most in (1, 0))
    np.testing.assert_array_equal(few.first[~few.same], many.first[~many.same])


@pytest.mark.parametrize(("share", "enrolled"), [(0.5, 1), (0.01, 1), (0.99, 2), (0.3, 3), (0.5, 8)])
def test_splits(share, enrolled):
    splits = open_set_splits(PEOPLE, share, enrolled, 20, seed=0)
    assert len({split.strangers.tobytes() for split in splits}) > 1
    with_probes = [name for name, size in SIZES.items() if size > enrolled]
    others = [name for name, size in SIZES.items() if size <= enrolled]
    times = collections.Counter(name for split in splits for name in set(PEOPLE[split.strangers].tolist()))
    for kind in (with_probes, others):
        assert len(kind) < 2 or max(times[name] for name in kind) - min(times[name] for name in kind) <= 1
    for split in splits:
        # Each image has one part.
        assert sorted(np.concatenate(split).tolist()) == list(range(26))
        assert min(map(len, split)) > 0
        gallery, strangers = set(PEOPLE[split.enrolled]), set(PEOPLE[split.strangers])
        assert not gallery & strangers
        counts = collections.Counter(PEOPLE[split.enrolled].tolist())
        assert all(count == min(enrolled, SIZES[name]) for name, count in counts.items())
        if len(with_probes) > 1:
            wanted = min(len(with_probes) - 1, max(1, round(share * len(with_probes))))
            assert len(strangers & set(with_probes)) == wanted
            assert len(strangers & set(others)) == round(share * len(others))


def test_what_no_benchmark_can_be_made_of():
    for people, message in (
        ([], "0 images; give at least two people"),
        (["a"], "1 image; give at least two people"),
        (["ann"] * 3, "all 3 images show one person, ann; add other people"),
        (["a", "b", "c"], "3 people with one image each; add a second image"),
    ):
        with pytest.raises(InputError, match=f"^mine: {message}"):
            check_people(np.array(people, str), "mine")
    check_people(PEOPLE, "mine")
    for options, message in (
        ({"strangers": 0.0}, "--strangers=0: the share"),
        ({"strangers": 1.0}, "--strangers=1: the share"),
        ({"enrolled": 0}, "enroll at least 1 image"),
        ({"count": -1}, "in 0 splits or more"),
        ({"enrolled": 9}, "nobody has 10 images, 9 to enroll and one to search with"),
    ):
        with pytest.raises(InputError, match=message):
            open_set_splits(PEOPLE, **{"strangers": 0.5, "enrolled": 1, "count": 1, "seed": 0, **options})
