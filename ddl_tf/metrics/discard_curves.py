"""How much a quality helps: the error rate of what is left when the pairs of lowest quality are discarded."""

from collections.abc import Mapping
from typing import NamedTuple, Optional, Union

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.bootstrap import check_replicates, pair_weights, percentile_interval
from ddl_tf.metrics.changed_decisions import RateThreshold
from ddl_tf.metrics.pair_people import PairPeople

# Areas of papers end here: who would discard more?
LIMIT = 0.2


class DiscardCurve(NamedTuple):
    """An error-versus-discard curve (EDC), in steps: `discarded` `[points]`, rising from 0, and the `fnmr` from there.

    Both are shares of pairs of one person, 0..1; `discarded` of all of them, `fnmr` of those that are left.
    """

    discarded: np.ndarray
    fnmr: np.ndarray

    def at(self, share: np.ndarray) -> np.ndarray:
        """Read the FNMR when at most some shares of the pairs are discarded."""
        # A share that was computed may be a little off.
        return self.fnmr[np.searchsorted(self.discarded, share + 1e-12, side="right") - 1]

    def area(self, limit: float = LIMIT) -> float:
        """Compute the partial area under the curve (pAUC), from 0 to the limit."""
        ends = np.minimum(np.append(self.discarded[1:], limit), limit)
        return float(np.maximum(ends - self.discarded, 0) @ self.fnmr)


class DiscardOrder:
    """The order in which a quality discards pairs, the lowest first; pairs of equal quality are discarded together.

    Args:
        quality: `[pairs]` of one person, finite; the higher, the better.

    Example:
        >>> order = DiscardOrder(np.array([0.1, 0.5, 0.5, 0.9]))
        >>> curve = order.curve(np.array([True, False, True, False]))
        >>> curve.discarded.tolist(), curve.fnmr.tolist(), curve.area(0.5)
        ([0.0, 0.25, 0.75], [0.5, 0.3333333333333333, 0.0], 0.20833333333333331)

    References:
        Grother and Tabassi, Performance of biometric quality measures. IEEE TPAMI 29 (4), 2007
        Schlett, Rathgeb, Tapia and Busch, Considerations on the evaluation of biometric quality assessment algorithms.
        IEEE T-BIOM 6 (1), 2024
    """

    def __init__(self, quality: np.ndarray) -> None:
        quality = np.asarray(quality, np.float64)
        if not len(quality) or not np.isfinite(quality).all():
            raise InputError(f"{np.sum(~np.isfinite(quality))} of {len(quality)} qualities are not finite; give some")
        self._levels, self._place = np.unique(quality, return_inverse=True)

    def curve(self, rejected: np.ndarray, weights: Optional[np.ndarray] = None) -> DiscardCurve:
        """Compute the curve.

        Args:
            rejected: `[pairs]` bool, whether a pair is taken for two people.
            weights: `[pairs]`, how often each pair counts, some of them; None: once.
        """
        counts = np.ones(len(self._place)) if weights is None else np.asarray(weights, np.float64)
        total, errors = (
            np.cumsum(np.bincount(self._place, values, len(self._levels))[::-1])[::-1]
            for values in (counts, counts * rejected)
        )
        # In a replicate the best pairs may not be drawn; whole numbers in float64 are exact.
        total, errors = total[total > 0], errors[total > 0]
        return DiscardCurve((total[0] - total) / total[0], errors / total)


def ideal_fnmr(fnmr: float, discarded: np.ndarray) -> np.ndarray:
    """Compute the FNMR that is left if rejected pairs are discarded first, from the rate of all: nothing is lower."""
    return np.maximum(fnmr - discarded, 0) / np.maximum(1 - discarded, np.finfo(float).tiny)


def ideal_area(fnmr: float, limit: float = LIMIT) -> float:
    """Compute the area under `ideal_fnmr` up to a limit below 1."""
    end = min(fnmr, limit)
    return float(end + (1 - fnmr) * np.log1p(-end)) if end < 1 else limit


class FalseMatchRate(NamedTuple):
    """The threshold is the lowest at which not more than this share of the pairs of two people is accepted."""

    rate: float


class FalseNonMatchRate(NamedTuple):
    """The threshold is the highest at which not more than this share of the pairs of one person is rejected."""

    rate: float


class Benefit(NamedTuple):
    """How much a quality helps.

    Attributes:
        pairs: pairs of one person that have a quality.
        rejected: how many of them are rejected, if none is discarded.
        fnmr: `[shares]`, of what is left when at most so many are discarded.
        low: `[shares]`, the lower ends of the pointwise intervals of 95%.
        high: `[shares]`, the upper ends.
        area: the pAUC.
        area_interval: [low, high] of 95%.
        ratio: the pAUC, as a share of that of a quality that says nothing, whose FNMR stays as it is; NaN: none is
            rejected.
        ratio_interval: [low, high] of 95%; None where half of the replicates have no error.
        ideal: the ratio of the best order of all, see `ideal_fnmr`.
    """

    pairs: int
    rejected: int
    fnmr: np.ndarray
    low: np.ndarray
    high: np.ndarray
    area: float
    area_interval: list[float]
    ratio: float
    ratio_interval: Optional[list[float]]
    ideal: float


def discard_benefits(
    similarity: np.ndarray,
    same: np.ndarray,
    qualities: Mapping[str, np.ndarray],
    start: Union[FalseMatchRate, FalseNonMatchRate],
    shares: np.ndarray,
    replicates: int,
    seed: int,
    people: Optional[PairPeople] = None,
    limit: float = LIMIT,
) -> dict[str, Benefit]:
    """Measure how the FNMR falls when the pairs of lowest quality are discarded, at one threshold, set on all pairs.

    People are drawn, and their pairs with them (pairs, if nobody knows the people); in every replicate the threshold is
    found anew. All qualities are measured on the same replicates.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, whether a pair shows one person; both kinds are needed.
        qualities: name -> `[pairs]`, higher is better, NaN where a pair has none: such pairs count for the threshold
            only. Of the others at least one must show one person.
        start: the error rate that the threshold is set for.
        shares: `[shares]`, 0..1, of the pairs to discard at most.
        replicates: how many times to resample, at least 40.
        seed: of the draws.
        people: whom the pairs show, see `people_of_pairs`.
        limit: where the areas end, above 0 and below 1.

    Returns:
        Name of the quality -> what it does.

    Example:
        >>> random = np.random.default_rng(0)
        >>> same, good = np.arange(800) < 400, random.uniform(size=800)
        >>> qualities = {"good": good, "none": random.uniform(size=800)}
        >>> similarity = random.normal(size=800) + 4 * good * same
        >>> rates = FalseMatchRate(0.1), np.array([0, 0.2])
        >>> benefits = discard_benefits(similarity, same, qualities, *rates, replicates=40, seed=0)
        >>> benefits["good"].ratio < 0.9 < benefits["none"].ratio, benefits["good"].ratio_interval[1] < 1
        (True, True)
    """
    check_replicates(replicates)
    if not 0 < limit < 1:
        raise InputError(f"limit {limit}: the areas end above 0 and below 1")
    same, similarity = np.asarray(same, bool), np.asarray(similarity, np.float64)
    rows = {name: np.flatnonzero(same & np.isfinite(quality)) for name, quality in qualities.items()}
    orders = {name: DiscardOrder(np.asarray(quality)[rows[name]]) for name, quality in qualities.items()}
    # A threshold for false non-matches is one for false matches, seen from the other side.
    mirrored = isinstance(start, FalseNonMatchRate)
    rule = RateThreshold(-similarity, ~same, start.rate) if mirrored else RateThreshold(similarity, same, start.rate)

    def curves(weights: np.ndarray) -> dict[str, DiscardCurve]:
        threshold = rule.at(weights)
        rejected = similarity <= -threshold if mirrored else similarity < threshold
        # Of a quality that few pairs have perhaps none is drawn.
        drawn = {name: order for name, order in orders.items() if weights[rows[name]].any()}
        return {name: order.curve(rejected[rows[name]], weights[rows[name]]) for name, order in drawn.items()}

    values: dict[str, list[np.ndarray]] = {name: [] for name in orders}
    sides = (None, None) if people is None else (people.first, people.second)
    for weights in pair_weights(same, replicates, seed, *sides):
        for name, curve in curves(weights).items():
            values[name].append(np.array([curve.area(limit), curve.fnmr[0], *curve.at(shares)]))
    benefits = {}
    for name, curve in curves(np.ones(len(same))).items():
        areas, starts, *rates = np.array(values[name]).T
        ratios = areas[starts > 0] / (limit * starts[starts > 0])
        low, high = np.array([percentile_interval(column) for column in rates]).reshape(-1, 2).T
        begin, area, count = float(curve.fnmr[0]), curve.area(limit), len(rows[name])
        ratio, ideal = (float(part / (limit * begin)) if begin else np.nan for part in (area, ideal_area(begin, limit)))
        interval = percentile_interval(ratios) if begin and len(ratios) >= replicates / 2 else None
        rejected, fnmr = round(begin * count), curve.at(shares)
        ends = percentile_interval(areas)
        benefits[name] = Benefit(count, rejected, fnmr, low, high, area, ends, ratio, interval, ideal)
    return benefits
