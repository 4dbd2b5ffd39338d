"""The gap: the expectation margin (mean of same less mean of different pairs) of an easy less that of a hard set."""

from collections.abc import Iterator, Mapping
from typing import Optional

import numpy as np

from ddl_tf.metrics.bootstrap import check_replicates, pair_weights, percentile_interval
from ddl_tf.metrics.pair_people import PairPeople, people_of_pairs
from ddl_tf.metrics.paired_tests import Difference, bootstrap_difference, check_alike
from ddl_tf.metrics.templates import NEVER

Scores = Mapping[str, np.ndarray]


def expectation_gap(easy: Scores, hard: Scores) -> float:
    """Compute the gap of a model from the `Outcome.scores` of the easy and the hard set, -4..4."""
    return _gap(easy, hard, np.ones(len(easy["same"]) + len(hard["same"])))


def gap_interval(easy: Scores, hard: Scores, replicates: int = 1000, seed: int = 0) -> list[float]:
    """Compute the confidence interval of a model's gap.

    If the scores of both sets hold `people`, people are resampled, and one who is in both sets in both alike; if it is
    known in other ways (`people_of_pairs`) whom pairs show, people of each set for itself. Else pairs of each set are
    resampled.

    Args:
        easy: `Outcome.scores` of the easy set: `similarity`, `same`; `first`, `second`, `people` where known.
        hard: of the hard set.
        replicates: how many times to resample.
        seed: of the draws.

    Returns:
        [low, high] of 95%.

    Raises:
        InputError: as `pair_weights`, or if there are fewer than 40 replicates.

    Example:
        >>> random = np.random.default_rng(0)
        >>> same = np.arange(400) < 200
        >>> sets = [{"similarity": 0.1 * random.normal(size=400) + shift * same, "same": same} for shift in (0.7, 0.4)]
        >>> low, high = gap_interval(*sets)
        >>> bool(0.25 < low < 0.3 < high < 0.35)
        True
    """
    check_replicates(replicates)
    return percentile_interval([_gap(easy, hard, weights) for weights in _weights(easy, hard, replicates, seed)])


def compare_gaps(
    easy_a: Scores, hard_a: Scores, easy_b: Scores, hard_b: Scores, replicates: int = 1000, seed: int = 0
) -> Difference:
    """Test whether the gaps of two models, a and b, differ, by the paired bootstrap: both on the same replicates."""
    check_replicates(replicates)
    check_alike(easy_a, easy_b)
    check_alike(hard_a, hard_b)
    differences = [
        _gap(easy_a, hard_a, weights) - _gap(easy_b, hard_b, weights)
        for weights in _weights(easy_a, hard_a, replicates, seed)
    ]
    people = _people(easy_a, hard_a)
    gaps = expectation_gap(easy_a, hard_a), expectation_gap(easy_b, hard_b)
    return bootstrap_difference("gap", *gaps, differences, people.unit if people else "pairs")


def _margin(scores: Scores, weights: np.ndarray) -> float:
    same, similarity = np.asarray(scores["same"], bool), np.asarray(scores["similarity"], np.float64)
    # A pair without an image has no similarity that a mean could hold.
    weights = np.where(similarity == NEVER, 0, weights)
    mean_same, mean_different = (np.average(similarity[kind], weights=weights[kind]) for kind in (same, ~same))
    return float(mean_same - mean_different)


def _gap(easy: Scores, hard: Scores, weights: np.ndarray) -> float:
    """Weights are of the easy pairs, then of the hard ones."""
    return _margin(easy, weights[: len(easy["same"])]) - _margin(hard, weights[len(easy["same"]) :])


def _people(easy: Scores, hard: Scores) -> Optional[PairPeople]:
    """The people of the easy pairs, then of the hard ones."""
    known = [people_of_pairs(scores) for scores in (easy, hard)]
    if known == [None, None]:
        return None
    named = "people" in easy and "people" in hard
    sides: tuple[list[np.ndarray], list[np.ndarray]] = ([], [])
    for name, scores, people in zip(("easy", "hard"), (easy, hard), known):
        # Pairs that say nothing of people are of a person each.
        alone = np.arange(len(scores["same"]))
        for side, codes in zip(sides, people[:2] if people else (alone, alone)):
            text = np.asarray(codes).astype(str)
            # Only names say who is in both sets.
            side.append(text if named else np.char.add(name, text))
    unit = "people" if all(people and people.unit == "people" for people in known) else "people by same pairs"
    return PairPeople(np.concatenate(sides[0]), np.concatenate(sides[1]), unit)


def _weights(easy: Scores, hard: Scores, replicates: int, seed: int) -> Iterator[np.ndarray]:
    same = np.concatenate([easy["same"], hard["same"]])
    part = np.repeat([0, 1], [len(easy["same"]), len(hard["same"])])
    first, second, _ = _people(easy, hard) or (None, None, "")
    return pair_weights(same, replicates, seed, first, second, part)
