"""Which decisions another model takes otherwise, in which parts of a set, and whether that is more than chance."""

from collections.abc import Iterator, Mapping
from typing import NamedTuple, Optional

import numpy as np
from scipy.sparse import csr_matrix

from ddl_tf.metrics.bootstrap import MIN_FALSE_ACCEPTS, check_replicates, pair_weights
from ddl_tf.metrics.pair_people import PairPeople
from ddl_tf.metrics.paired_tests import FEW_FALSE_ACCEPTS, Difference, bootstrap_difference, untested


class Change(NamedTuple):
    """What became of the pairs of one kind in one part of a set.

    `right` of the `pairs` were decided wrongly by the baseline and are decided rightly by the model, `wrong` the other
    way around. `test` compares their error rates, model less baseline: of same pairs the FNMR, of different the FMR.
    """

    pairs: int
    right: int
    wrong: int
    test: Difference


class RateThreshold:
    """The threshold of a model at a false match rate, for pairs that may count more than once.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, whether a pair shows one person.
        fmr: the highest share of different pairs that may be accepted, 0..1.

    Example:
        >>> rule = RateThreshold(np.array([0.9, 0.5, 0.4, 0.3, 0.2]), np.array([True] + 4 * [False]), 0.25)
        >>> rule.at(np.ones(5)), rule.at(np.array([1, 2, 1, 1, 0]))
        (0.5, 0.9)
    """

    def __init__(self, similarity: np.ndarray, same: np.ndarray, fmr: float) -> None:
        self._order = np.argsort(-similarity, kind="stable")
        in_order = similarity[self._order]
        # Pairs that are equally similar are accepted together.
        self._ends = np.append(np.flatnonzero(np.diff(in_order)), len(in_order) - 1)
        self._thresholds = np.append(np.inf, in_order[self._ends])
        self._different = ~np.asarray(same, bool)[self._order]
        self._fmr = fmr

    def at(self, weights: np.ndarray) -> float:
        """Find the lowest similarity at which the rate is kept, if each pair counts `weights` `[pairs]` times."""
        accepted = np.cumsum(np.where(self._different, weights[self._order], 0))
        # As a product of floats, 0.01 of 300 may come out below 3.
        allowed = self._fmr * accepted[-1] * (1 + 1e-9)
        return float(self._thresholds[np.searchsorted(accepted[self._ends], allowed, side="right")])


def changed_decisions(
    similarity: np.ndarray,
    baseline: np.ndarray,
    same: np.ndarray,
    fmr: float,
    parts: Mapping[str, np.ndarray],
    replicates: int,
    seed: int,
    people: Optional[PairPeople] = None,
) -> dict[str, tuple[Change, Change]]:
    """Compare the decisions of a model with those of a baseline, each at its own threshold for one false match rate.

    People are drawn, and their pairs with them (pairs, if nobody knows the people), and both thresholds are found anew
    in every replicate, so that the intervals hold what is uncertain about the thresholds too.

    Args:
        similarity: `[pairs]` of the model.
        baseline: `[pairs]` of the other model.
        same: `[pairs]` bool, whether a pair shows one person; both kinds are needed.
        fmr: the false match rate of both on all pairs.
        parts: name of a part of the set -> `[pairs]` bool, which pairs are in it.
        replicates: how many times to resample, at least 40.
        seed: of the draws.
        people: whom the pairs show, see `people_of_pairs`.

    Returns:
        Name of the part -> what changed among its same and its different pairs. There is no test where no pair is of
        the kind, or both models accept fewer than three different pairs.

    Example:
        >>> random = np.random.default_rng(0)
        >>> same = np.arange(400) < 200
        >>> bad, good = (random.normal(size=400) + shift * same for shift in (1, 3))
        >>> change = changed_decisions(good, bad, same, 0.1, {"all": same | ~same}, replicates=40, seed=0)["all"][0]
        >>> change.right > change.wrong, change.test.difference < 0, change.test.p < 0.05
        (True, True, True)
    """
    check_replicates(replicates)
    same = np.asarray(same, bool)
    models = [np.asarray(values, np.float64) for values in (similarity, baseline)]
    rules = [RateThreshold(values, same, fmr) for values in models]
    members = csr_matrix(np.stack([part & kind for part in parts.values() for kind in (same, ~same)]), dtype=np.float64)

    def errors(weights: np.ndarray) -> Iterator[np.ndarray]:
        for values, rule in zip(models, rules):
            yield (values >= rule.at(weights)) != same

    once = np.ones(len(same))
    wrong = list(errors(once))
    sides = (None, None) if people is None else (people.first, people.second)
    drawn = []
    for weights in pair_weights(same, replicates, seed, *sides):
        total = members @ weights
        model_errors, baseline_errors = errors(weights)
        # Of a part of which nobody is drawn, nothing is known.
        difference = members @ (weights * (model_errors.astype(np.int8) - baseline_errors))
        drawn.append(np.divide(difference, total, out=np.full(len(total), np.nan), where=total > 0))
    differences = np.array(drawn).T
    unit = "pairs" if people is None else people.unit
    changes: list[Change] = []
    for place in range(members.shape[0]):
        rows = members[place].indices
        ours, theirs = (model[rows] for model in wrong)
        ours_rate, theirs_rate = (float(model.mean()) if len(rows) else np.nan for model in (ours, theirs))
        number, known = ("fnmr", "fmr")[place % 2], differences[place][np.isfinite(differences[place])]
        few = place % 2 == 1 and max(ours.sum(), theirs.sum()) < MIN_FALSE_ACCEPTS
        if few or len(known) < replicates / 2:
            test = untested(
                number, ours_rate, theirs_rate, FEW_FALSE_ACCEPTS if few else "none: too few pairs to resample"
            )
        else:
            test = bootstrap_difference(number, ours_rate, theirs_rate, known, unit)
        changes.append(Change(len(rows), int(np.sum(theirs & ~ours)), int(np.sum(ours & ~theirs)), test))
    return dict(zip(parts, zip(changes[::2], changes[1::2])))
