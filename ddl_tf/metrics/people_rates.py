"""Rates of pairs of images at thresholds that are given, and how certain they are: a bootstrap over people."""

from typing import NamedTuple, Optional

import numpy as np

from ddl_tf.metrics.bootstrap import check_replicates, draw_counts, percentile_interval, rate_interval


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
