"""Open-set search as the scripts of the surveillance sets read it: thresholds that some false alarms leave.

`ddl_tf.metrics.ranks.tpir_at_fpir` is NIST's rule; the two scripts have rules of their own, and their numbers are what
papers quote.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Optional

import numpy as np

from ddl_tf.common.progress import Progress
from ddl_tf.metrics.bootstrap import check_replicates, draw_counts, percentile_interval

# Of the largest similarities of the strangers, from the smallest to the largest.
_STEPS = 1000


class SteppedCurve(NamedTuple):
    """`fpir` and `tpir` `[thresholds]`, in the order of rising FPIR."""

    fpir: np.ndarray
    tpir: np.ndarray

    def nearest(self, target: float) -> tuple[float, float]:
        """Read the TPIR at the FPIR that is nearest to a target, and that FPIR; of equal ones the lowest threshold."""
        place = int(np.argmin(np.abs(self.fpir - target)))
        return float(self.tpir[place]), float(self.fpir[place])

    @property
    def auc(self) -> float:
        """The area under the curve, from the smallest FPIR that a threshold has."""
        return float(np.sum(np.diff(self.fpir) * (self.tpir[1:] + self.tpir[:-1])) / 2)


class SteppedSearch:
    """TPIR over FPIR at 1,000 evenly spaced thresholds, by the rule of QMUL-SurvFace.

    FPIR is the share of the strangers whose most similar entry reaches a threshold, TPIR the share of the mated probes
    whose mate reaches it.

    Args:
        mate: `[mated probes]` similarity of the mate; -inf if it is not among the first ranks that count.
        stranger: `[strangers]` largest similarity; -inf without an image. At least one is finite.

    References:
        https://github.com/gist-ailab/feature-similarity-KD, face_recognition/test_qmul_id.py. It sorts equal rates with
        an unstable sort; here the lower threshold comes first.
    """

    def __init__(self, mate: np.ndarray, stranger: np.ndarray) -> None:
        finite = stranger[np.isfinite(stranger)]
        low, high = float(finite.min()), float(finite.max())
        # One threshold where all strangers are alike.
        self.thresholds = np.arange(low, high, (high - low) / _STEPS) if high > low else np.array([low])
        self._orders = np.argsort(mate, kind="stable"), np.argsort(stranger, kind="stable")
        sides = zip((mate, stranger), self._orders)
        self._below = [np.searchsorted(side[order], self.thresholds) for side, order in sides]

    def curve(
        self, mate_times: Optional[np.ndarray] = None, stranger_times: Optional[np.ndarray] = None
    ) -> SteppedCurve:
        """Make the curve; with `[mated probes]` and `[strangers]` numbers, each probe counts so many times."""
        rates = []
        for order, below, times in zip(self._orders, self._below, (mate_times, stranger_times)):
            ordered = np.ones(len(order)) if times is None else times[order]
            total = np.concatenate([[0.0], np.cumsum(ordered)])
            rates.append((total[-1] - total[below]) / max(1.0, total[-1]))
        tpir, fpir = rates
        rising = np.argsort(fpir, kind="stable")
        return SteppedCurve(fpir[rising], tpir[rising])


def bootstrap_steps(
    search: SteppedSearch,
    people: np.ndarray,
    strangers: np.ndarray,
    number: str,
    targets: Mapping[str, float],
    replicates: int,
    seed: int,
) -> dict[str, list[float]]:
    """Compute the 95% intervals of the TPIR at FPIR targets, as `number@name`, and of the area, as `number_auc`.

    People and strangers are drawn, each with all probes: `people` `[mated probes]` and `strangers` `[strangers]` say
    whom each probe shows. The thresholds are those of the whole set.
    """
    check_replicates(replicates)
    codes = [np.unique(part, return_inverse=True)[1] for part in (people, strangers)]
    random = np.random.default_rng(seed)
    values: dict[str, list[float]] = {}
    with Progress("bootstrap", replicates, unit="replicate") as progress:
        for _ in range(replicates):
            times = [draw_counts(random, int(code.max()) + 1)[code] for code in codes]
            curve = search.curve(*times)
            values.setdefault(f"{number}_auc", []).append(curve.auc)
            for name, target in targets.items():
                values.setdefault(f"{number}@{name}", []).append(curve.nearest(target)[0])
            progress.advance()
    return {name: percentile_interval(column) for name, column in values.items()}


def tpir_at_false_alarms(
    rank: np.ndarray, mate: np.ndarray, stranger: np.ndarray, fpir_targets: Sequence[float]
) -> np.ndarray:
    """Compute the true positive identification rate at some FPIR by the rule of IJB-S's public script.

    The threshold is the similarity of the stranger whose alarm is the last that the target allows: as
    `ddl_tf.metrics.ranks.tpir_at_fpir` it leaves floor(target x strangers) false alarms, but it is the highest such
    threshold, where that is the lowest. With no alarm allowed it is 1e-8 above all strangers.

    Args:
        rank: `[mated probes]` int, from 1; 0 = never found.
        mate: `[mated probes]` similarity of the mate.
        stranger: `[strangers]`, at least one, largest similarity; -inf without an image.
        fpir_targets: each 0..1.

    Returns:
        `[targets]`, the share of the mated probes whose mate is at rank 1 and reaches the threshold.

    Example:
        >>> mates, strangers = np.array([0.9, 0.7, 0.5]), np.array([0.8, 0.6, 0.2, 0.1])
        >>> tpir_at_false_alarms(np.array([1, 1, 1]), mates, strangers, [0.25, 0.5])
        array([0.33333333, 0.66666667])

    References:
        https://github.com/mk-minchul/AdaFace, validation_lq/PFE/ijbs.py, DIR_FAR and find_thresholds_by_FAR
    """
    falling = np.sort(stranger)[::-1]
    # A product that should be whole may fall just below it; the script then takes one less.
    allowed = (len(falling) * np.asarray(fpir_targets, float)).astype(int)
    thresholds = np.where(allowed > 0, falling[np.maximum(allowed, 1) - 1], falling[0] + 1e-8)
    found = np.where(rank == 1, mate, -np.inf)
    found = found[np.isfinite(found)]
    return np.array([np.count_nonzero(found >= threshold) for threshold in thresholds]) / len(rank)
