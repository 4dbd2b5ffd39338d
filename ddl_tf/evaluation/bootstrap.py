"""How far a number of an evaluation could lie from what it is on these pairs or probes by chance: intervals.

All intervals are of 95%, and those by the bootstrap are percentile intervals. See docs/statistics.md for what they
mean, and for what they do not contain: how training turns out with another seed.
"""

from collections.abc import Iterator, Mapping, Sequence
from typing import Optional

import numpy as np
from scipy.stats import binomtest

from ddl_tf.errors import InputError
from ddl_tf.evaluation.roc import FAR_TARGETS
from ddl_tf.evaluation.weighted import WeightedPairs
from ddl_tf.progress import Progress

CONFIDENCE = 0.95
_MAX_DRAWS = 1000


def check_replicates(replicates: int) -> None:
    """Refuse a number of replicates that gives no interval.

    Args:
        replicates: how many times to resample.

    Raises:
        InputError: if they are fewer than 40, of which one lies outside of each end of the interval.
    """
    if replicates < 40:
        raise InputError(f"{replicates} replicates: an interval of 95% needs at least 40, and 1000 are usual")


def percentile_interval(values: Sequence[float]) -> list[float]:
    """Give the interval that holds the middle 95% of bootstrapped values.

    Args:
        values: of one number, in each replicate.

    Returns:
        [low, high].
    """
    low, high = np.quantile(np.asarray(values, np.float64), [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2])
    return [float(low), float(high)]


def _draw(random: np.random.Generator, count: int) -> np.ndarray:
    """Draw `count` of `count` things with replacement: how often each came, `[count]`."""
    return np.bincount(random.integers(0, count, count), minlength=count)


def _person_codes(
    same: np.ndarray, first_person: np.ndarray, second_person: np.ndarray
) -> tuple[np.ndarray, np.ndarray, int]:
    """Number the people of pairs; a pair that contradicts its label is an error."""
    people, codes = np.unique(np.concatenate([first_person, second_person]), return_inverse=True)
    if codes.shape != (2 * len(same),):
        raise InputError(f"{len(first_person)} and {len(second_person)} people for {len(same)} pairs: give two a pair")
    first, second = codes[: len(same)], codes[len(same) :]
    wrong = np.flatnonzero((first == second) != same)
    if len(wrong):
        pair = wrong[0]
        what = f"pair {pair} of {first_person[pair]} and {second_person[pair]}, same: {same[pair]}"
        raise InputError(f"{len(wrong)} pairs contradict their people, such as {what}; correct the people or the pairs")
    return first, second, len(people)


def pair_weights(
    same: np.ndarray,
    replicates: int,
    seed: int,
    first_person: Optional[np.ndarray] = None,
    second_person: Optional[np.ndarray] = None,
) -> Iterator[np.ndarray]:
    """Resample pairs: how often each of them counts in each replicate.

    Without people, same and different pairs are drawn with replacement, each class for itself. This is honest if the
    pairs are independent, that is if a person is in one pair only. Where people are in several pairs the intervals
    are too narrow, because a person who is hard to recognise is so in all of his pairs.

    With people, people are drawn with replacement, and their pairs with them: a same pair counts as often as its
    person was drawn, a different one as the product of its two people's numbers. This is honest for people who are
    in many pairs, and on the safe side for the others: the intervals of numbers that hang on different pairs are too
    wide, by at most sqrt(3), if hardly anyone is in two different pairs.

    Equal arguments give equal weights, so that two models can be compared on the same replicates.

    Args:
        same: `[pairs]` bool, with both classes present.
        replicates: how many.
        seed: of the draws.
        first_person: `[pairs]` whom the first image shows, any values; None: resample pairs.
        second_person: `[pairs]` whom the second image shows.

    Yields:
        `[pairs]` int64 for each replicate, with some weight in both classes.

    Raises:
        InputError: if a class is missing, the people contradict the labels, or are too few to be resampled.

    Example:
        >>> [int(weights.sum()) for weights in pair_weights(np.array([True, True, False]), replicates=2, seed=0)]
        [3, 3]

    References:
        Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", CVIU 2004.
        Snijders and Borgatti, "Non-parametric standard errors and tests for network statistics", Connections 1999.
        Owen, "The pigeonhole bootstrap", Annals of Applied Statistics 2007: the bound on what is too wide.
    """
    same = np.asarray(same, bool)
    classes = np.flatnonzero(same), np.flatnonzero(~same)
    if not all(map(len, classes)):
        raise InputError(f"{same.sum()} of {len(same)} pairs are same ones: resampling needs both classes")
    if (first_person is None) != (second_person is None):
        raise InputError("people are given for one image of the pairs only: give both, or none")
    random = np.random.default_rng(seed)
    if first_person is None or second_person is None:
        for _ in range(replicates):
            weights = np.empty(len(same), np.int64)
            for members in classes:
                weights[members] = _draw(random, len(members))
            yield weights
        return
    first, second, num_people = _person_codes(same, np.asarray(first_person), np.asarray(second_person))
    for _ in range(replicates):
        for _ in range(_MAX_DRAWS):
            times = _draw(random, num_people)
            weights = np.where(same, times[first], times[first] * times[second])
            if weights[classes[0]].any() and weights[classes[1]].any():
                break
        else:
            raise InputError(f"{num_people} people are too few to resample: give no people, to resample pairs")
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
    """Compute the confidence intervals of the verification numbers of a set of pairs.

    Each replicate computes every number anew, with its thresholds.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, with both classes present.
        replicates: how many times to resample, 1000 usually.
        seed: of the draws.
        first_person: `[pairs]` whom the first image shows, any values; None: resample pairs. See `pair_weights`.
        second_person: `[pairs]` whom the second image shows.
        fold: `[pairs]` int, numbered 0, 1, ... without gaps, for the k-fold accuracy; None: without it.
        far_targets: name -> false accept rate, 0..1, of each `tar@name`.

    Returns:
        name -> [low, high] of 95%, for the names of `WeightedPairs.numbers`.

    Raises:
        InputError: as `pair_weights` and `WeightedPairs`, or if there are fewer than 40 replicates.

    Example:
        >>> random = np.random.default_rng(0)
        >>> same = np.arange(400) < 200
        >>> low, high = bootstrap_pairs(random.normal(size=400) + 2 * same, same, 1000, seed=0)["auc"]
        >>> bool(0.88 < low < 0.92 < high < 0.96)
        True
    """
    check_replicates(replicates)
    # Sorted pairs lie in memory as the curve visits them.
    order = np.argsort(-np.asarray(similarity), kind="stable")
    columns = [
        None if column is None else np.asarray(column)[order]
        for column in (similarity, same, fold, first_person, second_person)
    ]
    pairs = WeightedPairs(columns[0], columns[1], columns[2], far_targets)
    values: dict[str, list[float]] = {}
    with Progress("bootstrap", replicates, unit="replicate") as progress:
        for weights in pair_weights(pairs.same, replicates, seed, columns[3], columns[4]):
            for name, value in pairs.numbers(weights).items():
                values.setdefault(name, []).append(value)
            progress.advance()
    return {name: percentile_interval(one) for name, one in values.items()}


def bootstrap_rates(correct: np.ndarray, replicates: int, seed: int, unit: Optional[np.ndarray] = None) -> list[float]:
    """Compute the confidence interval of a mean over probes, such as a rank-1 rate, by resampling people.

    Args:
        correct: `[probes]` bool, or any number for each.
        replicates: how many times to resample, 1000 usually.
        seed: of the draws.
        unit: `[probes]` whom each probe shows, any values: a person is drawn with all of his probes. None: probes
            are drawn, which is honest if each person has one; `rate_interval` is exact then.

    Returns:
        [low, high] of 95%.

    Raises:
        InputError: if there are no probes, a value is not finite, the arrays do not fit, or there are fewer than 40
            replicates.

    Example:
        >>> low, high = bootstrap_rates(np.arange(100) < 80, replicates=1000, seed=0)
        >>> bool(0.68 < low < 0.76 < 0.84 < high < 0.92)
        True
    """
    check_replicates(replicates)
    correct = np.asarray(correct, np.float64)
    if correct.ndim != 1 or len(correct) == 0 or (unit is not None and np.shape(unit) != correct.shape):
        raise InputError(
            f"correct is of shape {correct.shape}, unit of {np.shape(unit)}: give one value for each probe"
        )
    if not np.all(np.isfinite(correct)):
        raise InputError(f"{np.sum(~np.isfinite(correct))} of {len(correct)} values are not finite")
    codes = np.arange(len(correct)) if unit is None else np.unique(unit, return_inverse=True)[1]
    totals, counts = np.bincount(codes, correct), np.bincount(codes)
    random = np.random.default_rng(seed)
    means = []
    for _ in range(replicates):
        drawn = random.integers(0, len(counts), len(counts))
        means.append(totals[drawn].sum() / counts[drawn].sum())
    return percentile_interval(means)


def rate_interval(successes: int, trials: int) -> list[float]:
    """Compute the Wilson interval of a rate of independent trials, which holds near 0 and 1 too.

    Args:
        successes: how many of the trials succeeded.
        trials: how many there were, each of a person of its own.

    Returns:
        [low, high] of 95%.

    Raises:
        InputError: if there are no trials, or not so many.

    Example:
        >>> [round(end, 3) for end in rate_interval(100, 100)]
        [0.963, 1.0]

    References:
        Wilson, "Probable inference, the law of succession, and statistical inference", JASA 1927.
    """
    if not 0 <= successes <= trials or trials == 0:
        raise InputError(f"{successes} successes of {trials} trials: give at least one trial, and no more successes")
    interval = binomtest(int(successes), int(trials)).proportion_ci(CONFIDENCE, method="wilson")
    return [float(interval.low), float(interval.high)]
