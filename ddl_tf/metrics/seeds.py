"""Two ways of training, each run with several seeds: does the difference outlast the luck of a seed?"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import scipy

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.bootstrap import CONFIDENCE


class SeedComparison(NamedTuple):
    """The means of two arms over `seeds` pairs of runs, and their difference a - b with its interval of 95%.

    The interval is by Student's t, `p` of the paired t-test, and `wilcoxon_p` of Wilcoxon's signed-rank test, which
    supposes no normal distribution, but cannot be below 0.05 with fewer than six seeds.
    """

    seeds: int
    a: float
    b: float
    difference: float
    low: float
    high: float
    p: float
    wilcoxon_p: float


def compare_seeds(a: Sequence[float], b: Sequence[float]) -> SeedComparison:
    """Compare one number of two arms over runs with the same seeds.

    Args:
        a: `[seeds]` of the first arm, at least two.
        b: `[seeds]` of the second arm, in the same order.

    Returns:
        Means, difference, interval and p-values. Equal arms have the difference 0, an interval without width, and p 1.

    Raises:
        InputError: if the arms do not fit, are fewer than two, not finite, or differ by the same number for every seed.

    Example:
        >>> comparison = compare_seeds([0.91, 0.93, 0.92], [0.90, 0.90, 0.90])
        >>> round(comparison.difference, 3), round(comparison.p, 3)
        (0.02, 0.074)
    """
    first, second = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if first.shape != second.shape or first.ndim != 1 or len(first) < 2:
        raise InputError(
            f"{first.size} and {second.size} runs: give one number for each of two or more seeds, in each arm"
        )
    if not np.all(np.isfinite([first, second])):
        raise InputError(f"runs of {first.tolist()} and {second.tolist()}: all must be finite")
    differences = first - second
    mean_a, mean_b = float(first.mean()), float(second.mean())
    if not differences.any():
        return SeedComparison(len(first), mean_a, mean_b, 0.0, 0.0, 0.0, 1.0, 1.0)
    if np.ptp(differences) <= 1e-12 * np.abs(differences).max():
        raise InputError(
            f"the arms differ by {differences[0]:g} for every seed: no chance to estimate; give all digits"
        )
    test = scipy.stats.ttest_rel(first, second)
    interval = test.confidence_interval(CONFIDENCE)
    numbers = (differences.mean(), interval.low, interval.high, test.pvalue, scipy.stats.wilcoxon(differences).pvalue)
    return SeedComparison(len(first), mean_a, mean_b, *map(float, numbers))
