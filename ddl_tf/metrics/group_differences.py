"""How different error rates are between groups of people at one threshold, in one number, and how certain it is."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np

from ddl_tf.metrics.bootstrap import CONFIDENCE, check_replicates, draw_counts, percentile_interval
from ddl_tf.metrics.error_rates import is_accepted
from ddl_tf.metrics.people_rates import Comparisons, group_rates

# The weight of FMR beside FNMR, as the authors of the measures take it.
ALPHA = 0.5


def worst_to_geometric_mean(rates: np.ndarray) -> Optional[float]:
    """Divide the largest of `[groups]` rates by their geometric mean: 1 is fair; None if a group has no error.

    References:
        Grother, Face Recognition Vendor Test part 8: Summarizing Demographic Differentials. NISTIR 8429, 2022
    """
    return float(rates.max() / np.exp(np.log(rates).mean())) if rates.min() > 0 else None


def gini_coefficient(rates: np.ndarray) -> Optional[float]:
    """Compute n / (n - 1) x the mean absolute difference of all pairs of `[groups]` rates / (2 x their mean).

    0 is fair; 1 if one group has all errors; None if no group has any.

    References:
        Howard, Laird, Rubin, Sirotin, Tipton and Vemury, Evaluating proposed fairness models for face recognition
        algorithms. ICPR workshops, 2022
    """
    if rates.max() == 0:
        return None
    total = np.abs(rates[:, np.newaxis] - rates).sum()
    return float(total / (2 * len(rates) * (len(rates) - 1) * rates.mean()))


def difference_measures(fmr: np.ndarray, fnmr: np.ndarray, alpha: float = ALPHA) -> dict[str, Optional[float]]:
    """Sum up how different the rates of groups are.

    Args:
        fmr: `[groups]` false match rates at one threshold, 0..1, at least two; of pairs within a group.
        fnmr: `[groups]` false non-match rates there, of the same groups or of others.
        alpha: the weight of FMR, 0..1, that of FNMR is 1 - alpha.

    Returns:
        `fmr_ratio` and `fnmr_ratio`: `worst_to_geometric_mean`; `fmr_gini` and `fnmr_gini`: `gini_coefficient`; `garbe`
        = alpha `fmr_gini` + (1 - alpha) `fnmr_gini`; `inequity_rate` = (max FMR / min FMR)^alpha x (max FNMR / min
        FNMR)^(1 - alpha); `fairness_discrepancy` = 1 - alpha (max FMR - min FMR) - (1 - alpha) (max FNMR - min FNMR).
        The last is 1 if all are alike, the ratios and the inequity rate too, the others are 0. None where a group
        without any error makes a ratio infinite, or no group has one.

    Example:
        >>> measures = difference_measures(np.array([0.01, 0.04]), np.array([0.1, 0.1]))
        >>> {name: round(value, 4) for name, value in measures.items()}["inequity_rate"]
        2.0

    References:
        de Freitas Pereira and Marcel, Fairness in biometrics: a figure of merit to assess biometric verification
        systems. IEEE T-BIOM 4, 2022 (fairness discrepancy rate); Grother, Demographic differentials in face recognition
        algorithms. EAB, 2021 (inequity rate); Howard et al., 2022 (GARBE); Grother, NISTIR 8429, 2022 (ratios)
    """
    ginis = [gini_coefficient(rates) for rates in (fmr, fnmr)]
    weights = (alpha, 1 - alpha)
    measured = min(fmr.min(), fnmr.min()) > 0
    return {
        "fmr_ratio": worst_to_geometric_mean(fmr),
        "fnmr_ratio": worst_to_geometric_mean(fnmr),
        "fmr_gini": ginis[0],
        "fnmr_gini": ginis[1],
        "garbe": None if None in ginis else float(np.dot(weights, np.array(ginis, float))),
        "inequity_rate": float(np.prod([(r.max() / r.min()) ** w for r, w in zip((fmr, fnmr), weights)]))
        if measured
        else None,
        "fairness_discrepancy": float(1 - np.dot(weights, [np.ptp(fmr), np.ptp(fnmr)])),
    }


_FAIR_VALUES = {name: float(value or 0) for name, value in difference_measures(np.ones(2), np.ones(2)).items()}
# The value of each measure where all groups are alike, and the direction of worse ones.
FAIR = {name: (value, -1 if name == "fairness_discrepancy" else 1) for name, value in _FAIR_VALUES.items()}
MEASURES = tuple(FAIR)


def measure_interval(name: str, value: float, drawn: np.ndarray, alike: np.ndarray) -> list[float]:
    """Compute the interval of 95% of a measure, which chance alone moves away from fair.

    The percentile interval of such a measure is too far from fair: of groups that are alike it never holds the truth
    (docs/group_differences.md). So it is widened towards fair by how far the replicates lie from the value; and it
    reaches to fair itself where groups of one rate are as different as these in more than 2.5% of the replicates.

    Args:
        name: of the measure.
        value: what it is.
        drawn: `[replicates]` the measure of rates that were drawn.
        alike: `[replicates]` that of the same rates, scaled so that all groups would have one rate without chance.

    Returns:
        [low, high].
    """
    fair, worse = FAIR[name]
    low, high = percentile_interval(drawn)
    bias = float(np.median(drawn)) - value
    low, high = low - max(0.0, bias), high + max(0.0, -bias)
    is_chance = worse * value <= np.quantile(worse * alike, (1 + CONFIDENCE) / 2)
    if worse > 0:
        return [fair if is_chance else max(low, fair), high]
    return [low, fair if is_chance else min(high, fair)]


class _Tallies:
    """Pairs within groups, counted by group and by their two people: what a bootstrap over people weighs."""

    def __init__(
        self, group: np.ndarray, people: np.ndarray, pairs: Comparisons, of: np.ndarray, wrong: np.ndarray
    ) -> None:
        inside = np.flatnonzero((group[pairs.first] == group[pairs.second]) & (group[pairs.first] >= 0) & of)
        count = int(people.max()) + 1
        first, second = people[pairs.first[inside]], people[pairs.second[inside]]
        keys = (group[pairs.first[inside]].astype(np.int64) * count + first) * count + second
        keys, place = np.unique(keys, return_inverse=True)
        self._group, rest = np.divmod(keys, count**2)
        self._first, self._second = np.divmod(rest, count)
        self._total = np.bincount(place, minlength=len(keys))
        self._hits = [np.bincount(place, column, len(keys)) for column in wrong[inside].T]

    def rates(self, times: np.ndarray, groups: int) -> np.ndarray:
        """The error rate of each group where people count `times` `[people]`: `[targets, groups]`, NaN of no pair."""
        one = self._first == self._second
        weights = np.where(one, times[self._first], times[self._first] * times[self._second]).astype(np.float64)
        total = np.bincount(self._group, weights * self._total, groups)
        hits = np.array([np.bincount(self._group, weights * column, groups) for column in self._hits])
        return np.divide(hits, total, out=np.full(hits.shape, np.nan), where=total > 0)


class GroupDifferences(NamedTuple):
    """`groups` as of `group_rates`; `differences`: its pairs, and each measure by target; intervals; what is not told.

    Intervals are named by the path to a number, "groups@..." and "differences@...".
    """

    groups: dict[str, Any]
    differences: dict[str, Any]
    intervals: dict[str, list[float]]
    notes: list[str]


def group_differences(
    names: Sequence[str],
    group: np.ndarray,
    people: np.ndarray,
    pairs: Comparisons,
    targets: Mapping[str, float],
    replicates: int,
    seed: int,
) -> GroupDifferences:
    """Compute the rates of groups and of pairs of groups at the thresholds of all pairs, and how different they are.

    The measures are of the groups whose FMR, or FNMR, is measured, where these are at least two; each of the intervals
    is of the same groups, with all people drawn together (see `measure_interval`), and left out if a group without an
    error makes it infinite in more than 2.5% of the replicates. The arguments are those of `group_rates`.
    """
    rates = group_rates(names, group, people, pairs, targets, replicates, seed)
    intervals = {f"groups@{path}": ends for path, ends in rates.intervals["groups"].items()}
    intervals.update({f"differences@pairs@{path}": ends for path, ends in rates.intervals["pairs"].items()})
    differences: dict[str, Any] = {"pairs": rates.pairs, **{name: dict.fromkeys(targets) for name in MEASURES}}
    notes, chosen = [], {}
    for target in targets:
        known = {
            kind: [place for place, name in enumerate(names) if rates.groups[name][kind][target] is not None]
            for kind in ("fmr", "fnmr")
        }
        for kind, places in known.items():
            # One person says nothing of a group, and that is told elsewhere.
            lacking = [name for name in names if rates.groups[name]["people"] > 1]
            lacking = [name for name in lacking if names.index(name) not in places]
            if lacking:
                which = ", ".join(lacking)
                notes.append(f"{kind.upper()} of {which} at FMR {target} is not measured: too few pairs or people.")
        chosen[target] = {kind: places if len(places) > 1 else [] for kind, places in known.items()}
        measured = {kind: _chosen(rates.groups, names, places, kind, target) for kind, places in chosen[target].items()}
        for name, value in difference_measures(measured["fmr"], measured["fnmr"]).items():
            if all(chosen[target][kind] for kind in chosen[target] if not _is_of_other(name, kind)):
                differences[name][target] = value
    if replicates and chosen:
        drawn = _replicates(group, people, pairs, list(targets), chosen, rates.groups, names, replicates, seed)
        for (name, target), (column, alike) in drawn.items():
            value = differences[name][target]
            infinite = ~np.isfinite(column) | ~np.isfinite(alike)
            if value is None:
                continue
            if infinite.mean() > (1 - CONFIDENCE) / 2:
                share = f"{infinite.mean():.0%} of the replicates"
                notes.append(f"{name} at FMR {target} has no interval: in {share} a group has no error.")
            else:
                # The few infinite ones are above the upper end.
                columns = (np.where(infinite, part[~infinite].max(), part) for part in (column, alike))
                intervals[f"differences@{name}@{target}"] = measure_interval(name, value, *columns)
    return GroupDifferences(rates.groups, differences, intervals, notes)


def _is_of_other(name: str, kind: str) -> bool:
    """Whether a measure is of the other kind of errors alone."""
    return name.split("_")[0] in {"fmr", "fnmr"} - {kind}


def _chosen(
    rates: Mapping[str, Any], names: Sequence[str], places: Sequence[int], kind: str, target: str
) -> np.ndarray:
    """The rates of the groups at some places; of none, two that are alike, which no measure is told of."""
    return np.array([rates[names[place]][kind][target] for place in places]) if places else np.ones(2)


def _replicates(
    group: np.ndarray,
    people: np.ndarray,
    pairs: Comparisons,
    targets: Sequence[str],
    chosen: Mapping[str, Mapping[str, list[int]]],
    rates: Mapping[str, Any],
    names: Sequence[str],
    replicates: int,
    seed: int,
) -> dict[tuple[str, str], tuple[np.ndarray, np.ndarray]]:
    """Each measure and target in each replicate of a bootstrap over people, and as if groups were alike.

    Infinity stands where a measure is none, or where a group without any error cannot be scaled.
    """
    check_replicates(replicates)
    everybody, codes = np.unique(people, return_inverse=True)
    tallies = {
        "fmr": _Tallies(group, codes, pairs, ~pairs.same, pairs.accepted),
        "fnmr": _Tallies(group, codes, pairs, pairs.same, ~pairs.accepted),
    }
    random = np.random.default_rng(seed)
    values: dict[tuple[str, str], tuple[list[float], list[float]]] = {
        (name, target): ([], []) for name in MEASURES for target in chosen
    }
    for _ in range(replicates):
        times = draw_counts(random, len(everybody))
        drawn = {kind: tally.rates(times, len(names)) for kind, tally in tallies.items()}
        for target, known in chosen.items():
            of_kinds = {
                kind: drawn[kind][targets.index(target), places] if places else np.ones(2)
                for kind, places in known.items()
            }
            # A group of whom nobody was drawn says nothing in this replicate.
            if not all(np.isfinite(row).all() for row in of_kinds.values()):
                continue
            scaled = {}
            for kind, row in of_kinds.items():
                measured = _chosen(rates, names, known[kind], kind, target)
                scaled[kind] = row * np.divide(measured.mean(), measured, out=np.zeros(len(row)), where=measured > 0)
            both = [difference_measures(of["fmr"], of["fnmr"]) for of in (of_kinds, scaled)]
            for name in MEASURES:
                for place, measures in enumerate(both):
                    value = measures[name]
                    values[name, target][place].append(np.inf if value is None else value)
    return {key: (np.array(column), np.array(alike)) for key, (column, alike) in values.items()}


def compare_groups(
    columns: Mapping[str, tuple[Sequence[str], np.ndarray]],
    people: np.ndarray,
    similarity: np.ndarray,
    pairs: tuple[np.ndarray, np.ndarray, np.ndarray],
    thresholds: Mapping[str, float],
    replicates: int,
    seed: int,
) -> GroupDifferences:
    """Compare groups by each of some columns, as `group_differences`; everything is by name of the column.

    Args:
        columns: name of a column -> the names of its groups, and that of each image, `[images]` int, -1: none.
        people: `[images]`, whom each image shows.
        similarity: `[pairs]`.
        pairs: `first` and `second`, positions of images, and `same`, `[pairs]` each.
        thresholds: name of a false match rate -> the threshold of all pairs, only where that is measured.
        replicates: of the bootstrap over people; 0: no intervals.
        seed: of the bootstrap.
    """
    comparisons = Comparisons(*pairs, is_accepted(similarity, thresholds))
    found = GroupDifferences({}, {}, {}, [])
    for column, (names, group) in columns.items():
        targets = {name: float(name) for name in thresholds}
        of_column = group_differences(names, group, people, comparisons, targets, replicates, seed)
        found.groups[column] = of_column.groups
        found.differences[column] = {"threshold": dict(thresholds), **of_column.differences}
        for path, ends in of_column.intervals.items():
            part, rest = path.split("@", 1)
            found.intervals[f"{part}@{column}@{rest}"] = ends
        found.notes.extend(f"{column}: {note}" for note in of_column.notes)
    return found
