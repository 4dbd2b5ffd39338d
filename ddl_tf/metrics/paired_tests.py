"""Is one model better than another? Tests of two models on the same pairs or probes."""

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple, Optional, Union

import numpy as np
import pandas as pd
from scipy.special import bdtr, ndtr, ndtri

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.metrics import bootstrap
from ddl_tf.metrics.bootstrap import bootstrap_means, check_replicates, few_false_accepts, pair_weights
from ddl_tf.metrics.k_fold import k_fold_correct, usable_folds
from ddl_tf.metrics.pair_people import PairPeople, people_of_pairs
from ddl_tf.metrics.roc import FAR_TARGETS, corner_roc
from ddl_tf.metrics.template_bootstrap import replicates_over_people, template_numbers
from ddl_tf.metrics.weighted import WeightedPairs

_Scores = Mapping[str, np.ndarray]
# The names of the tests of probes: nobody asks how another gallery would turn out.
SIGN_FLIPS = "sign flips of people, gallery as given"
PROBES_ALONE = "McNemar, exact; each probe taken as another person's, for nobody is named"
# Instead of the name of a test, where there is none.
NO_VARIANCE = "none: the difference does not vary"
FEW_FALSE_ACCEPTS = f"none: fewer than {bootstrap.MIN_FALSE_ACCEPTS} false accepts"
# What must be equal in the scores of two models.
ALIKE = ("same", "first", "second", "fold", "template", "template_person", "condition", "person", "people")
_OF_THE_MODEL = ("similarity", "rank", "average_precision")
# Of the sign flip test; its least p-value is one in so many. Drawn so many at a time.
_FLIPS, _TOGETHER = 9_999, 1_000


class Difference(NamedTuple):
    """The difference a - b of one number, such as "auc", between two models.

    `low` and `high` are its interval of 95%, None if there is no valid test; `p` says how often chance alone would make
    so large a difference, of either sign, 0..1; `test` names the test.
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
    """Compute a two-sided p: 2 min(1 + #(difference <= 0), 1 + #(difference >= 0)) / (1 + replicates), at most 1."""
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
    low, high = bootstrap.percentile_interval(differences)
    return Difference(number, a, b, a - b, low, high, bootstrap_p(differences), f"paired bootstrap of {unit}")


def _placements(similarity: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute for each same pair the share of different pairs below it, and for each different one of same above."""
    of_same, of_different = similarity[same], similarity[~same]
    ranks, same_ranks, different_ranks = (
        pd.Series(values).rank().to_numpy()
        for values in (np.concatenate([of_same, of_different]), of_same, of_different)
    )
    below = (ranks[: len(of_same)] - same_ranks) / len(of_different)
    above = 1 - (ranks[len(of_same) :] - different_ranks) / len(of_same)
    return below, above


def delong_test(similarity_a: np.ndarray, similarity_b: np.ndarray, same: np.ndarray) -> Difference:
    """Test whether two models have the same AUC, by DeLong's test, on independent `[pairs]`, two or more of each class.

    With d the difference of the models' placements of a pair (the share of the other class that it is rightly ordered
    with), the variance of the difference is var(d of same) / #same + var(d of different) / #different. There is no
    p-value if placements differ by as much for every pair: nothing says how the difference varies. Placements are by
    midranks, as in Sun and Xu, "Fast implementation of DeLong's algorithm", IEEE Signal Processing Letters 21, 2014.
    """
    same = np.asarray(same, bool)
    models = [np.asarray(similarity, np.float64) for similarity in (similarity_a, similarity_b)]
    if any(similarity.shape != same.shape or not np.all(np.isfinite(similarity)) for similarity in models):
        raise InputError(f"give each model a finite similarity for each of the {len(same)} pairs")
    if not 2 <= same.sum() <= len(same) - 2:
        raise InputError(f"{same.sum()} of {len(same)} pairs are same ones: DeLong's test needs two of each class")
    (same_a, different_a), (same_b, different_b) = (_placements(similarity, same) for similarity in models)
    auc_a, auc_b = float(same_a.mean()), float(same_b.mean())
    variance = sum(np.var(d, ddof=1) / len(d) for d in (same_a - same_b, different_a - different_b))
    error = float(np.sqrt(variance))
    margin = float(ndtri((1 + bootstrap.CONFIDENCE) / 2)) * error
    difference = auc_a - auc_b
    # Up to rounding: placements are multiples of half of a pair.
    if difference and error <= 1e-12:
        return untested("auc", auc_a, auc_b, NO_VARIANCE)
    # Models that place every pair alike have no variance, and no difference either.
    p = float(2 * ndtr(-abs(difference) / error)) if difference else 1.0
    return Difference("auc", auc_a, auc_b, difference, difference - margin, difference + margin, p, "DeLong")


def mcnemar_test(correct_a: np.ndarray, correct_b: np.ndarray) -> float:
    """Test whether two models are right equally often on `[n]` decisions, by McNemar's exact two-sided test."""
    correct_a, correct_b = np.asarray(correct_a, bool), np.asarray(correct_b, bool)
    if correct_a.shape != correct_b.shape:
        raise InputError(f"decisions of shapes {correct_a.shape} and {correct_b.shape}: give both models' on the same")
    only_a, only_b = int(np.sum(correct_a & ~correct_b)), int(np.sum(~correct_a & correct_b))
    # Twice the tail of Binomial(n, 1/2), which is symmetric; in the middle both tails are the whole.
    return min(1.0, float(2 * bdtr(min(only_a, only_b), only_a + only_b, 0.5)))


def sign_flip_test(difference: np.ndarray, person: np.ndarray, seed: int) -> float:
    """Test whether two models are equally good on people's probes, by flipping signs: McNemar's test for people.

    If neither model is better, what one has more of on a person's probes it could as well have less. The sign of each
    person's sum of `difference` `[probes]` is drawn, and the total compared with that of the models. This holds for few
    people too, and for a person with many probes, where the bootstrap is somewhat too bold. The two-sided p-value is
    the share of draws whose total is as far from 0; 1/10,000 at least. (Good, "Permutation, Parametric, and Bootstrap
    Tests of Hypotheses", 2005, chapter 3.)
    """
    difference, person = np.asarray(difference, np.float64), np.asarray(person)
    if difference.ndim != 1 or difference.shape != person.shape:
        raise InputError(f"differences of shape {difference.shape} for people of {person.shape}: give a person each")
    totals = np.bincount(np.unique(person, return_inverse=True)[1], difference)
    totals = totals[totals != 0]
    # Sums in another order are rounded in another way.
    observed = abs(totals.sum()) - 1e-9 * np.abs(totals).sum()
    random, as_far = np.random.default_rng(seed), 0
    for start in range(0, _FLIPS, _TOGETHER):
        flips = random.integers(0, 2, [min(_TOGETHER, _FLIPS - start), len(totals)], np.int8)
        as_far += int(np.sum(np.abs((2 * flips - 1) @ totals) >= observed))
    return (1 + as_far) / (1 + _FLIPS)


def holm(p_values: Sequence[float]) -> list[float]:
    """Correct the p-values of several comparisons, in their order, for their number (Holm, Scand. J. Statistics 1979).

    If no comparison has a real difference, one of them is below 0.05 in at most 5% of all cases.
    """
    values = np.asarray(p_values, np.float64)
    if not np.all((values >= 0) & (values <= 1)):
        raise InputError(f"p-values {values.tolist()}: each must be in 0..1")
    order = np.argsort(values, kind="stable")
    steps = np.maximum.accumulate(values[order] * np.arange(len(values), 0, -1))
    corrected = np.empty(len(values))
    corrected[order] = np.minimum(steps, 1.0)
    return [float(value) for value in corrected]


def bootstrap_pair_tests(
    similarity_a: np.ndarray,
    similarity_b: np.ndarray,
    same: np.ndarray,
    replicates: int,
    seed: int,
    first_person: Optional[np.ndarray] = None,
    second_person: Optional[np.ndarray] = None,
    fold: Optional[np.ndarray] = None,
    far_targets: Mapping[str, float] = FAR_TARGETS,
    unit: str = "people",
) -> list[Difference]:
    """Test every verification number of two models by the paired bootstrap: both on the same replicates.

    The arguments are those of `bootstrap_pairs`, with the similarities of two models; `unit` names people in the test.
    A TAR at fewer than three false accepts has no test.
    """
    check_replicates(replicates)
    models = [WeightedPairs(similarity, same, fold, far_targets) for similarity in (similarity_a, similarity_b)]
    numbers_a, numbers_b = (model.numbers(np.ones(len(same))) for model in models)
    differences: dict[str, list[float]] = {name: [] for name in numbers_a}
    with Progress("paired bootstrap", replicates, unit="replicate") as progress:
        for weights in pair_weights(same, replicates, seed, first_person, second_person):
            replicate_a, replicate_b = (model.numbers(weights) for model in models)
            for name, values in differences.items():
                values.append(replicate_a[name] - replicate_b[name])
            progress.advance()
    drawn = "pairs" if first_person is None else unit
    rows = {
        name: bootstrap_difference(name, numbers_a[name], numbers_b[name], values, drawn)
        for name, values in differences.items()
    }
    for name in few_false_accepts("tar", far_targets, int(np.sum(~np.asarray(same, bool)))):
        rows[name] = untested(name, numbers_a[name], numbers_b[name], FEW_FALSE_ACCEPTS)
    return list(rows.values())


def check_alike(scores_a: Mapping[str, np.ndarray], scores_b: Mapping[str, np.ndarray]) -> None:
    """Refuse scores of two models that differ in names, shapes, labels, images, folds, people or conditions."""
    advice = "evaluate both models on the same set, with the same options"
    for name in (*ALIKE, *_OF_THE_MODEL):
        if (name in scores_a) != (name in scores_b):
            raise InputError(f"only one model's scores hold {name!r}: {advice}")
        if name not in scores_a:
            continue
        a, b = np.asarray(scores_a[name]), np.asarray(scores_b[name])
        if a.shape != b.shape:
            raise InputError(f"the models' {name!r} are of shapes {a.shape} and {b.shape}: {advice}")
        if name not in _OF_THE_MODEL and not np.array_equal(a, b):
            raise InputError(f"the models' {name!r} differ in {np.sum(a != b)} of {len(a)} places: {advice}")


def _pair_rows(
    a: _Scores, b: _Scores, people: Optional[PairPeople], replicates: int, seed: int, far_targets: Mapping[str, float]
) -> Iterator[Difference]:
    first, second, unit = people or (None, None, "people")
    same = np.asarray(a["same"], bool)
    fold = usable_folds(same, np.asarray(a["fold"])) if "fold" in a else None
    models = a["similarity"], b["similarity"]
    rows = bootstrap_pair_tests(*models, same, replicates, seed, first, second, fold, far_targets, unit)
    for row in rows:
        if people is None and row.number == "auc":
            yield delong_test(*models, same)
        elif people is None and fold is not None and row.number == "accuracy":
            distances = (2 - 2 * np.asarray(similarity, np.float64) for similarity in models)
            p = mcnemar_test(*(k_fold_correct(distance, same, fold) for distance in distances))
            yield row._replace(p=p, test="McNemar, exact")
        else:
            yield row


def _template_rows(
    a: _Scores, b: _Scores, people: PairPeople, replicates: int, seed: int, far_targets: Mapping[str, float]
) -> Iterator[Difference]:
    """Compare two models by the numbers of IJB on pairs of templates, by the bootstrap over people."""
    same = np.asarray(a["same"], bool)
    numbers, drawn = [], []
    for scores in (a, b):
        false, true = corner_roc(scores["similarity"], same)
        numbers.append(template_numbers(false / false[-1], true / true[-1], far_targets))
        pairs = scores["similarity"], same, people.first, people.second
        drawn.append(replicates_over_people(*pairs, far_targets, replicates, seed))
    for name, value_a in numbers[0].items():
        value_b = numbers[1][name]
        if name in drawn[0]:
            yield bootstrap_difference(name, value_a, value_b, drawn[0][name] - drawn[1][name], people.unit)
        else:
            yield untested(name, value_a, value_b, FEW_FALSE_ACCEPTS)


def _probe_rows(a: _Scores, b: _Scores, replicates: int, seed: int, ranks: Sequence[int]) -> Iterator[Difference]:
    condition = np.asarray(a["condition"]) if "condition" in a else np.full(len(a["rank"]), "")
    values = {f"rank-{k}": [(scores["rank"] >= 1) & (scores["rank"] <= k) for scores in (a, b)] for k in ranks}
    if "average_precision" in a:
        values["map"] = [np.asarray(scores["average_precision"]) for scores in (a, b)]
    for name in dict.fromkeys(condition.tolist()):
        chosen = condition == name
        person = a["person"][chosen] if "person" in a else None
        for number, models in values.items():
            values_a, values_b = (probes[chosen] for probes in models)
            difference = values_a.astype(np.float64) - values_b
            differences = bootstrap_means(difference, replicates, seed, person)
            means = float(values_a.mean()), float(values_b.mean())
            row = bootstrap_difference(f"{number} {name}".strip(), *means, differences, "probes")
            if person is not None and row.p is not None:
                row = row._replace(p=sign_flip_test(difference, person, seed), test=SIGN_FLIPS)
            elif person is None and values_a.dtype == bool:
                row = row._replace(p=mcnemar_test(values_a, values_b), test=PROBES_ALONE)
            yield row


def compare_scores(
    scores_a: Mapping[str, np.ndarray],
    scores_b: Mapping[str, np.ndarray],
    people: Optional[np.ndarray] = None,
    replicates: int = 1000,
    seed: int = 0,
    ranks: Sequence[int] = (1,),
    far_targets: Mapping[str, float] = FAR_TARGETS,
) -> list[dict[str, Union[str, float, None]]]:
    """Compare two models by every number of their scores on one set.

    If people are known, they are resampled for every number; if an image is in several pairs, people as
    `people_of_pairs` finds them. Numbers of probes are tested by `sign_flip_test`. Else pairs or probes are taken as
    independent: the AUC is tested by DeLong's test, the k-fold accuracy and ranks by McNemar's exact one, the rest by
    the paired bootstrap. Intervals are the bootstrap's, or DeLong's. Pairs of templates have AUC, EER, and the TAR of
    `nearest_tar`, as IJB.

    Args:
        scores_a: `Outcome.scores` of the first model: of pairs `similarity`, `same`, and where known `first`, `second`,
            `fold`, `people`, or `template`, `template_person`; of probes `rank`, and where known `condition`,
            `average_precision`, and `person`.
        scores_b: of the second model.
        people: `[images or templates]` whom those of the pairs show, any values; None: `people` of the scores.
        replicates: how many times to resample.
        seed: of the draws.
        ranks: up to which rank a mate counts as found, a row for each in each condition.
        far_targets: name -> false accept rate, 0..1, of each `tar@name`.

    Returns:
        The fields of `Difference` for each number. The p-values are not corrected for their number, see `holm`.

    Raises:
        InputError: if the scores are not of the same pairs or probes, hold neither, or cannot be resampled.

    Example:
        >>> random = np.random.default_rng(0)
        >>> same = np.arange(400) < 200
        >>> good, bad = ({"similarity": random.normal(size=400) + shift * same, "same": same} for shift in (3, 1))
        >>> row = compare_scores(good, bad, replicates=40)[0]
        >>> row["number"], row["p"] < 0.001, row["test"]
        ('auc', True, 'DeLong')
    """
    check_replicates(replicates)
    check_alike(scores_a, scores_b)
    rows: list[Difference] = []
    if "similarity" in scores_a:
        known = people_of_pairs(scores_a, people)
        if known and "template_person" in scores_a:
            rows += _template_rows(scores_a, scores_b, known, replicates, seed, far_targets)
        else:
            rows += _pair_rows(scores_a, scores_b, known, replicates, seed, far_targets)
    if "rank" in scores_a:
        rows += _probe_rows(scores_a, scores_b, replicates, seed, ranks)
    if not rows:
        raise InputError(f"the scores hold {', '.join(scores_a) or 'nothing'}: neither pairs nor probes to compare")
    return [row._asdict() for row in rows]
