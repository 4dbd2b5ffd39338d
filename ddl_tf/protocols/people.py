"""A benchmark of any people: who is compared with whom, and who is searched among whom, by a seed."""

from typing import NamedTuple

import numpy as np

from ddl_tf.common.errors import InputError

# What each draw is of: it does not depend on how much the others draw.
_SAME, _DIFFERENT, _SPLITS = range(3)


class Pairs(NamedTuple):
    """Pairs of images: the positions of the two, `first` and `second`, and whether they show one person, `[pairs]`."""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


class Split(NamedTuple):
    """A search: positions of the images that are `enrolled`, and of the probes, `mated` ones and those of strangers."""

    enrolled: np.ndarray
    mated: np.ndarray
    strangers: np.ndarray


def check_people(people: np.ndarray, name: str) -> None:
    """Refuse a set that cannot say anything: of one person, or without two images of anybody."""
    names, counts = np.unique(people, return_counts=True)
    if len(people) < 2:
        found = f"{len(people)} image{'s' * (len(people) != 1)}"
        raise InputError(f"{name}: {found}; give at least two people, and two images of one of them")
    if len(names) < 2:
        raise InputError(
            f"{name}: all {len(people):,} images show one person, {names[0]}; add other people, to compare with"
        )
    if counts.max() < 2:
        raise InputError(
            f"{name}: {len(names):,} people with one image each; add a second image of some, to compare with the first"
        )


def images_of_people(people: np.ndarray) -> list[np.ndarray]:
    """List the positions of each person's images, in the order of the people's names."""
    order = np.argsort(people, kind="stable")
    return np.split(order, np.flatnonzero(people[order][1:] != people[order][:-1]) + 1)


def balanced_pairs(count: int, most: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw `most` different pairs of `count` things, or all there are; each thing is in about as many as any other."""
    order = random.permutation(count)
    # In a circle: everybody with the next one, then with the one after that, until they meet from the other side.
    rounds = min(count // 2, most // max(1, count) + 2)
    first, step = np.tile(np.arange(count), rounds), np.repeat(np.arange(1, rounds + 1), count)
    once = (2 * step < count) | (first < step)
    first, step = first[once][:most], step[once][:most]
    return order[first], order[(first + step) % count]


def people_pairs(people: np.ndarray, most_same: int, most_different: int, seed: int) -> Pairs:
    """Make the pairs of a 1:1 benchmark.

    Of each person all pairs, or `most_same`. Of two people all pairs, or `most_different` in all: as many of each two
    people as of any other two, as far as their images go; and each image about as often as the person's others. No
    pair is there twice.

    Args:
        people: `[images]`, whom each image shows.
        most_same: pairs of one person; 0: all.
        most_different: pairs of two people, in all; 0: all.
        seed: of the draws.

    Returns:
        The pairs, those of one person first.

    Example:
        >>> pairs = people_pairs(np.array(["ann", "ann", "bob", "cy"]), 0, 0, seed=0)
        >>> int(pairs.same.sum()), len(pairs.same)
        (1, 6)
    """
    everything = len(people) ** 2
    members = images_of_people(np.asarray(people))
    random = np.random.default_rng([seed, _SAME])
    same = [balanced_pairs(len(images), most_same or everything, random) for images in members]
    first = [images[pair[0]] for images, pair in zip(members, same)]
    second = [images[pair[1]] for images, pair in zip(members, same)]
    count = sum(map(len, first))
    random = np.random.default_rng([seed, _DIFFERENT])
    different = _pairs_of_two(members, most_different or everything, random)
    first, second = (np.concatenate([*parts, side]) for parts, side in zip((first, second), different))
    return Pairs(first, second, np.arange(len(first)) < count)


def _pairs_of_two(members: list[np.ndarray], most: int, random: np.random.Generator) -> tuple[np.ndarray, np.ndarray]:
    """Draw pairs of images of two people."""
    sizes = np.array([len(images) for images in members])
    starts = np.cumsum(sizes) - sizes
    a, b = balanced_pairs(len(members), most, random)
    taken = _fill(sizes[a] * sizes[b], most)
    visit = np.arange(taken.sum()) - np.repeat(np.cumsum(taken) - taken, taken)
    begin_a, begin_b = (np.repeat(random.integers(0, sizes[side]), taken) for side in (a, b))
    a, b = np.repeat(a, taken), np.repeat(b, taken)
    # Down the diagonals of the table of both people's images: each cell once, each image in turn.
    shift = visit // np.lcm(sizes[a], sizes[b])
    images = np.concatenate(members)
    first = images[starts[a] + (begin_a + visit) % sizes[a]]
    return first, images[starts[b] + (begin_b + visit + shift) % sizes[b]]


def _fill(capacity: np.ndarray, most: int) -> np.ndarray:
    """Share out `most` to `[n]` vessels, to all the same level but where one is full before; what is left to the first.

    All that fits, if that is less.
    """
    # The highest level whose water is not too much.
    low, high = 0, int(capacity.max(initial=0))
    while low < high:
        level = (low + high + 1) // 2
        low, high = (level, high) if np.minimum(capacity, level).sum() <= most else (low, level - 1)
    taken = np.minimum(capacity, low)
    taken[np.flatnonzero(capacity > low)[: most - taken.sum()]] += 1
    return taken


def open_set_splits(people: np.ndarray, strangers: float, enrolled: int, count: int, seed: int) -> list[Split]:
    """Draw who is enrolled and who is a stranger, `count` times.

    `strangers` of the people are not enrolled, and all of their images are searched. Of each other one `enrolled`
    images are enrolled and the rest are searched; of a person with no more images than that, all are enrolled. Those
    who have images to search and those who have not are shared out alike, and everybody is a stranger as often as
    another of the kind, or once more.

    Args:
        people: `[images]`, whom each image shows.
        strangers: the share of people who are not enrolled, above 0 and below 1.
        enrolled: images of each enrolled person, at least 1.
        count: how many splits.
        seed: of the draws.

    Raises:
        InputError: if nobody has an image more than `enrolled`, or a number is out of its range.

    Example:
        >>> split = open_set_splits(np.array(["ann", "ann", "bob", "bob"]), 0.5, 1, count=1, seed=0)[0]
        >>> len(split.enrolled), len(split.mated), len(split.strangers)
        (1, 1, 2)
    """
    if not 0 < strangers < 1:
        raise InputError(f"--strangers={strangers:g}: the share of people who are not enrolled; above 0 and below 1")
    if enrolled < 1 or count < 0:
        raise InputError(f"--enrolled={enrolled}, --splits={count}: enroll at least 1 image, in 0 splits or more")
    members = images_of_people(np.asarray(people))
    sizes = np.array([len(images) for images in members])
    searched = np.flatnonzero(sizes > enrolled)
    if not len(searched):
        raise InputError(
            f"--enrolled={enrolled}: nobody has {enrolled + 1} images, {enrolled} to enroll and one to search with; "
            "enroll fewer, or add images"
        )
    others = np.flatnonzero(sizes <= enrolled)
    random = np.random.default_rng([seed, _SPLITS])
    # Somebody who is searched must be enrolled, and somebody must not be.
    most = len(searched) - 1
    shares = (
        (searched, min(most, max(1, round(strangers * len(searched))))),
        (others, max(int(most == 0), round(strangers * len(others)))),
    )
    times, splits = np.zeros(len(members), np.int64), []
    for _ in range(count):
        is_stranger = np.zeros(len(members), bool)
        for kind, number in shares:
            # Those who were it least often, in an order by chance.
            is_stranger[kind[np.lexsort((random.random(len(kind)), times[kind]))[:number]]] = True
        times += is_stranger
        shuffled = [random.permutation(images) for images in members]
        known = [images for images, out in zip(shuffled, is_stranger) if not out]
        splits.append(
            Split(
                np.concatenate([images[:enrolled] for images in known]),
                np.concatenate([images[enrolled:] for images in known]),
                np.concatenate([images for images, out in zip(members, is_stranger) if out]),
            )
        )
    return splits
