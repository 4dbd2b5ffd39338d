"""Rates of pairs of images at thresholds that are given, and how certain they are: a bootstrap over people."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from ddl_tf.metrics.bootstrap import (
    MIN_FALSE_ACCEPTS,
    check_replicates,
    draw_counts,
    percentile_interval,
    rate_interval,
)

# The name of the pairs of which the two images are in two groups.
ACROSS = "two groups"


class Rate(NamedTuple):
    """A rate 0..1 of trials, and its interval [low, high] of 95%; None where it is not computed."""

    value: float
    interval: Optional[list[float]]


def pair_rates(
    accepted: np.ndarray, first_person: np.ndarray, second_person: np.ndarray, replicates: int, seed: int
) -> list[Rate]:
    """Compute the share of pairs that are accepted at each of some thresholds.

    People are drawn with replacement, and their pairs with them, as for `pair_weights`; the thresholds stay what they
    are. Where no pair is accepted, or every one is, a bootstrap knows of no other case: the interval is then Wilson's,
    with each person as one trial, or each two people whose images are compared.

    Args:
        accepted: `[pairs, thresholds]` bool, at least one pair; all of one person each, or all of two people each.
        first_person: `[pairs]`, whom the first image shows, any values.
        second_person: `[pairs]`, whom the second image shows.
        replicates: how many times to resample, 1000 usually; 0: no intervals.
        seed: of the draws.

    Returns:
        The rate at each threshold.

    Example:
        >>> rates = pair_rates(np.array([[True], [False]]), np.array([0, 1]), np.array([0, 1]), 0, seed=0)
        >>> rates[0].value
        0.5
    """
    accepted = np.asarray(accepted, bool)
    rates = accepted.mean(axis=0).tolist()
    if not replicates:
        return [Rate(rate, None) for rate in rates]
    check_replicates(replicates)
    people, codes = np.unique(np.concatenate([first_person, second_person]), return_inverse=True)
    ends = np.sort(codes.reshape(2, -1), axis=0)
    # All pairs of images of the same two people have one weight.
    keys, place = np.unique(ends[0] * len(people) + ends[1], return_inverse=True)
    first, second = keys // len(people), keys % len(people)
    total = np.bincount(place)
    hits = np.stack([np.bincount(place, column, len(keys)) for column in accepted.T], axis=1)
    random, values = np.random.default_rng(seed), []
    for _ in range(replicates):
        times = draw_counts(random, len(people))
        weights = np.where(first == second, times[first], times[first] * times[second]).astype(np.float64)
        # Of few people perhaps nobody is drawn who is in a pair of the kind.
        if weights.any():
            values.append(weights @ hits / (weights @ total))
    drawn = np.array(values)
    return [
        Rate(rate, percentile_interval(column) if 0 < rate < 1 else rate_interval(round(rate * len(keys)), len(keys)))
        for rate, column in zip(rates, drawn.T)
    ]


class Comparisons(NamedTuple):
    """Pairs of images: positions of the two, whether they show one person, and whether accepted `[pairs, rates]`."""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    accepted: np.ndarray


class GroupRates(NamedTuple):
    """Rates of `groups`, of `pairs` of two groups, "a and b", and the intervals of both by the path to a number."""

    groups: dict[str, Any]
    pairs: dict[str, Any]
    intervals: dict[str, dict[str, list[float]]]


def group_rates(
    names: Sequence[str],
    group: np.ndarray,
    people: np.ndarray,
    pairs: Comparisons,
    targets: Mapping[str, float],
    replicates: int,
    seed: int,
) -> GroupRates:
    """Compute the false match and non-match rates of each group, both of whose images are in it, and of two groups.

    Args:
        names: of the groups.
        group: `[images]` int, the group of each image; -1: none.
        people: `[images]`, whom each image shows.
        pairs: the pairs, and which are accepted at the threshold of each target.
        targets: name of a false match rate -> the rate, 0..1.
        replicates: of the bootstrap over the people of the group; 0: no intervals.
        seed: of the bootstrap.

    Returns:
        Group -> `people`, `images`, `same` and `different`, the numbers of pairs, and by name of the target `fmr` and
        `fnmr`: None in a group of one person; the first also if fewer than three pairs are accepted or expected to be,
        the second if fewer than two people have a pair. All pairs of two groups are together `ACROSS`, and those
        of each two groups are `pairs`, "a and b", where there are any.
    """
    ends = np.sort([group[pairs.first], group[pairs.second]], axis=0)
    found = GroupRates({}, {}, {"groups": {}, "pairs": {}})

    def add(part: str, name: str, inside: np.ndarray, images: np.ndarray) -> None:
        cell: dict[str, Any] = {"people": len(np.unique(people[images])), "images": int(images.sum())}
        same, different = np.flatnonzero(inside & pairs.same), np.flatnonzero(inside & ~pairs.same)
        cell.update(same=len(same), different=len(different))
        for kind, rows, wrong in (("fmr", different, pairs.accepted), ("fnmr", same, ~pairs.accepted)):
            sides = people[pairs.first[rows]], people[pairs.second[rows]]
            cell[kind] = dict.fromkeys(targets)
            if cell["people"] > 1 and len(np.unique(sides)) > 1:
                errors = wrong[rows]
                values = pair_rates(errors, *sides, replicates, seed)
                for place, (target, rate) in enumerate(targets.items()):
                    seen = max(errors[:, place].sum(), round(rate * len(rows), 6))
                    if kind == "fnmr" or seen >= MIN_FALSE_ACCEPTS:
                        cell[kind][target], interval = values[place]
                        if interval:
                            found.intervals[part][f"{name}@{kind}@{target}"] = interval
        getattr(found, part)[name] = cell

    for number, name in enumerate(names):
        add("groups", name, (ends == number).all(axis=0), group == number)
    add("groups", ACROSS, (ends[0] != ends[1]) & (ends[0] >= 0), group >= 0)
    for one, other in itertools.combinations(range(len(names)), 2):
        inside = (ends[0] == one) & (ends[1] == other)
        if inside.any():
            add("pairs", pair_name(names[one], names[other]), inside, np.isin(group, (one, other)))
    return found


def pair_name(one: str, other: str) -> str:
    """Name the pairs of one group with another."""
    return f"{one} and {other}"
