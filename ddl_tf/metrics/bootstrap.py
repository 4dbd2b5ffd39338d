"""Intervals of 95% of the numbers of an evaluation, by the percentile bootstrap; see docs/statistics.md."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Optional, Union

import numpy as np
from scipy.special import ndtri

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.metrics.roc import FAR_TARGETS
from ddl_tf.metrics.weighted import WeightedPairs

CONFIDENCE = 0.95
# So many different pairs must be expected above the threshold of a TAR: the bootstrap of an extreme value is not valid.
# Measured by benchmarks/intervals.py.
MIN_FALSE_ACCEPTS = 3
_MAX_DRAWS = 1000


def check_replicates(replicates: int) -> None:
    """Refuse fewer than 40 replicates: one of 40 lies outside of each end of an interval of 95%."""
    if replicates < 40:
        raise InputError(f"{replicates} replicates: an interval of 95% needs at least 40, and 1000 are usual")


def percentile_interval(values: Union[Sequence[float], np.ndarray]) -> list[float]:
    """Return [low, high], between which the middle 95% of bootstrapped values lie."""
    low, high = np.quantile(np.asarray(values, np.float64), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return [float(low), float(high)]


def bootstrapped_targets(same: np.ndarray, far_targets: Mapping[str, float] = FAR_TARGETS) -> dict[str, float]:
    """Choose the false accept rates at which the bootstrap of the TAR is valid: three false accepts or more."""
    few = few_false_accepts("tar", far_targets, int(np.sum(~np.asarray(same, bool))))
    return {name: far for name, far in far_targets.items() if f"tar@{name}" not in few}


def few_false_accepts(number: str, targets: Mapping[str, float], trials: int) -> list[str]:
    """Name the rates, as `number@name` of "tar" or "tpir", that fewer than three of `trials` false accepts decide."""
    # The product of 1e-3 and 3000 may be rounded to less than 3.
    return [f"{number}@{name}" for name, rate in targets.items() if round(rate * trials, 6) < MIN_FALSE_ACCEPTS]


def draw_counts(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw `count` of `count` things with replacement, and count how often each came: `[count]`."""
    return np.bincount(random.integers(0, count, count), minlength=count)


def pair_weights(
    same: np.ndarray,
    replicates: int,
    seed: int,
    first_person: Optional[np.ndarray] = None,
    second_person: Optional[np.ndarray] = None,
    part: Optional[np.ndarray] = None,
) -> Iterator[np.ndarray]:
    """Resample pairs: how often each counts in each replicate, `[pairs]` int64, some in each class of each set.

    Without people, same and different pairs are drawn with replacement, each class for itself: too narrow intervals if
    a person is in several pairs. With people (`[pairs]`, whom each image shows), people are drawn, and their pairs with
    them: a pair of one person counts as often as the person was drawn, a pair of two people as the product of their
    numbers, whatever the label says. Intervals of numbers that follow from different pairs are too wide, by at most
    sqrt(3), if hardly anyone is in two different pairs (docs/statistics.md).

    Equal arguments give equal weights, so that two models can be compared on the same replicates. `part` `[pairs]`
    numbers the set of each pair: pairs are drawn within a set, people from all together.
    """
    same = np.asarray(same, bool)
    part = np.zeros(len(same), np.int64) if part is None else np.asarray(part)
    classes = [
        np.flatnonzero((part == number) & (same == kind)) for number in np.unique(part) for kind in (True, False)
    ]
    if len(same) == 0 or not all(map(len, classes)):
        raise InputError(f"{same.sum()} of {len(same)} pairs are same ones: resampling needs both classes of each set")
    if (first_person is None) != (second_person is None):
        raise InputError("people are given for one image of the pairs only: give both, or none")
    random = np.random.default_rng(seed)
    if first_person is None or second_person is None:
        for _ in range(replicates):
            weights = np.empty(len(same), np.int64)
            for members in classes:
                weights[members] = draw_counts(random, len(members))
            yield weights
        return
    people, codes = np.unique(np.concatenate([first_person, second_person]), return_inverse=True)
    if codes.shape != (2 * len(same),):
        raise InputError(f"{len(first_person)} and {len(second_person)} people for {len(same)} pairs: give two a pair")
    first, second = codes[: len(same)], codes[len(same) :]
    one_person = first == second
    for _ in range(replicates):
        for _ in range(_MAX_DRAWS):
            times = draw_counts(random, len(people))
            weights = np.where(one_person, times[first], times[first] * times[second])
            if all(weights[members].any() for members in classes):
                break
        else:
            raise InputError(f"{len(people)} people are too few to resample: give no people, to resample pairs")
        yield weights


def bootstrap_pairs(
    similarity: np.ndarray,
    same: np.ndarray,
    replicates: int,
    seed: int,
    first_person: Optional[np.ndarray] = None,
    second_person: Optional[np.ndarray] = None,
    fold: Optional[np.ndarray] = None,
    far_targets: Mapping[str, float] = FAR_TARGETS,
) -> dict[str, list[float]]:
    """Compute the confidence intervals of the verification numbers of pairs; each replicate finds its own thresholds.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, with both classes.
        replicates: how many times to resample, 1000 usually.
        seed: of the draws.
        first_person: `[pairs]` as for `pair_weights`.
        second_person: `[pairs]` as for `pair_weights`.
        fold: `[pairs]` int from 0 without gaps, for the k-fold accuracy; None: without it.
        far_targets: name -> false accept rate, 0..1, of each `tar@name`.

    Returns:
        name -> [low, high], for the names of `WeightedPairs.numbers`; no `tar@name` at fewer than three false accepts.

    Example:
        >>> random = np.random.default_rng(0)
        >>> same = np.arange(400) < 200
        >>> low, high = bootstrap_pairs(random.normal(size=400) + 2 * same, same, 100, seed=0)["auc"]
        >>> bool(0.88 < low < 0.92 < high < 0.96)
        True
    """
    check_replicates(replicates)
    # Sorted pairs lie in memory as the curve visits them.
    order = np.argsort(-np.asarray(similarity), kind="stable")
    similarity, same = np.asarray(similarity)[order], np.asarray(same, bool)[order]
    fold, first_person, second_person = (
        None if column is None else np.asarray(column)[order] for column in (fold, first_person, second_person)
    )
    pairs = WeightedPairs(similarity, same, fold, bootstrapped_targets(same, far_targets))
    values: dict[str, list[float]] = {}
    with Progress("bootstrap", replicates, unit="replicate") as progress:
        for weights in pair_weights(same, replicates, seed, first_person, second_person):
            for name, value in pairs.numbers(weights).items():
                values.setdefault(name, []).append(value)
            progress.advance()
    return {name: percentile_interval(column) for name, column in values.items()}


def bootstrap_means(values: np.ndarray, replicates: int, seed: int, unit: Optional[np.ndarray] = None) -> np.ndarray:
    """Compute the mean of `[n]` values in each replicate: `[replicates]` float64. See `bootstrap_rates`."""
    check_replicates(replicates)
    values = np.asarray(values, np.float64)
    unit = np.arange(len(values)) if unit is None else np.asarray(unit)
    if values.ndim != 1 or len(values) == 0 or unit.shape != values.shape:
        raise InputError(f"values of shape {values.shape}, units of {unit.shape}: give one or more, and one unit each")
    if not np.all(np.isfinite(values)):
        raise InputError(f"{np.sum(~np.isfinite(values))} of {len(values)} values are not finite")
    codes = np.unique(unit, return_inverse=True)[1]
    totals, counts = np.bincount(codes, values), np.bincount(codes)
    random = np.random.default_rng(seed)
    draws = (random.integers(0, len(counts), len(counts)) for _ in range(replicates))
    return np.array([totals[drawn].sum() / counts[drawn].sum() for drawn in draws])


def bootstrap_rates(correct: np.ndarray, replicates: int, seed: int, unit: Optional[np.ndarray] = None) -> list[float]:
    """Compute the interval [low, high] of 95% of a rate of probes, such as rank-1, by resampling people.

    Args:
        correct: `[probes]` bool, or any number for each.
        replicates: how many times to resample, 1000 usually.
        seed: of the draws.
        unit: `[probes]` whom each probe shows: a person is drawn with all probes. None: probes are drawn, which is
            honest if each person has one; `rate_interval` is better then.
    """
    return percentile_interval(bootstrap_means(correct, replicates, seed, unit))


def rate_interval(successes: int, trials: int) -> list[float]:
    """Compute Wilson's interval [low, high] of 95% of a rate of trials, each of another person; also near 0 and 1."""
    if not 0 <= successes <= trials or trials == 0:
        raise InputError(f"{successes} successes of {trials} trials: give at least one trial, and no more successes")
    rate, squared = successes / trials, float(ndtri((1 + CONFIDENCE) / 2)) ** 2 / trials
    centre = rate + squared / 2
    reach = (squared * (rate * (1 - rate) + squared / 4)) ** 0.5
    low = 0.0 if successes == 0 else (centre - reach) / (1 + squared)
    high = 1.0 if successes == trials else (centre + reach) / (1 + squared)
    return [float(low), float(high)]
