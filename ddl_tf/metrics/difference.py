"""The difference of a number between two models, with its interval and p-value, from bootstrapped differences."""

from collections.abc import Sequence
from typing import NamedTuple, Optional, Union

import numpy as np

from ddl_tf.metrics.bootstrap import MIN_FALSE_ACCEPTS, percentile_interval

# Instead of the name of a test, where there is none.
NO_VARIANCE = "none: the difference does not vary"
FEW_FALSE_ACCEPTS = f"none: fewer than {MIN_FALSE_ACCEPTS} false accepts"


class Difference(NamedTuple):
    """The difference a - b of one number, such as "auc", between two models.

    `low` and `high` are its interval of 95%, None if there is no valid test; `p` is how often chance alone would make
    so large a difference, of either sign, 0..1; `test` is the name of the test.
    """

    number: str
    a: float
    b: float
    difference: float
    low: Optional[float]
    high: Optional[float]
    p: Optional[float]
    test: str


def untested(number: str, a: float, b: float, reason: str) -> Difference:
    """Make a row without interval and p-value, for a reason."""
    return Difference(number, a, b, a - b, None, None, None, reason)


def bootstrap_p(differences: Union[Sequence[float], np.ndarray]) -> float:
    """Compute the two-sided p-value of bootstrapped differences: twice the smaller share on one side of 0.

    It is 2 min(1 + #(difference <= 0), 1 + #(difference >= 0)) / (1 + replicates), at most 1, and never 0.
    """
    values = np.asarray(differences, np.float64)
    tail = min(int(np.sum(values <= 0)), int(np.sum(values >= 0)))
    return min(1.0, 2 * (1 + tail) / (1 + len(values)))


def bootstrap_difference(
    number: str, a: float, b: float, differences: Union[Sequence[float], np.ndarray], unit: str
) -> Difference:
    """Make a row of a number of two models, their differences in each replicate, and what was drawn, such as "people".

    There is no interval and no p-value if every replicate has one difference that is not 0: nothing says how it varies.
    """
    # Up to rounding: one difference, averaged over people of other sizes, is not quite the same number.
    if a != b and np.ptp(np.asarray(differences, np.float64)) <= 1e-12:
        return untested(number, a, b, NO_VARIANCE)
    low, high = percentile_interval(differences)
    return Difference(number, a, b, a - b, low, high, bootstrap_p(differences), f"paired bootstrap of {unit}")
