"""The verification protocol: are the two images of a pair the same person?"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import numpy as np

from ddl_tf import evaluation
from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.people_text import rules_text
from ddl_tf.evaluation.stored import Outcome
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrap_pairs, bootstrapped_targets
from ddl_tf.metrics.error_rates import operating_points
from ddl_tf.metrics.group_differences import compare_groups
from ddl_tf.metrics.k_fold import best_threshold, k_fold_accuracy, k_fold_tar, usable_folds
from ddl_tf.metrics.pair_people import linked_people
from ddl_tf.metrics.roc import FAR_TARGETS
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.protocols.people_groups import Groups
from ddl_tf.protocols.rfw import RACES, rfw_name

if TYPE_CHECKING:
    import tensorflow as tf

# Of a set of all pairs of some thousand images the embeddings of all pairs would take many GB.
_PAIRS_AT_A_TIME = 16_384


class Bootstrap(NamedTuple):
    """How intervals are made: how many `replicates` (0: none), and their seed."""

    replicates: int
    seed: int


def _by_pair(
    pair_set: PairSet, embeddings: np.ndarray, compare: Callable[[np.ndarray, np.ndarray], np.ndarray]
) -> np.ndarray:
    """Sum what `compare` makes of the two embeddings `[pairs, dim]` of each pair: `[pairs]` float64."""
    wide, parts = embeddings.astype(np.float64), [np.empty(0)]
    for start in range(0, len(pair_set.first), _PAIRS_AT_A_TIME):
        pairs = slice(start, start + _PAIRS_AT_A_TIME)
        parts.append(np.sum(compare(wide[pair_set.first[pairs]], wide[pair_set.second[pairs]]), axis=1))
    return np.concatenate(parts)


def pair_similarities(pair_set: PairSet, embeddings: np.ndarray) -> np.ndarray:
    """Compute the cosine similarity of each pair from embeddings `[images, dim]` of unit norm: `[pairs]` float64."""
    return _by_pair(pair_set, embeddings, np.multiply)


def mean_similarities(similarity: np.ndarray, same: np.ndarray) -> dict[str, float]:
    """Average the similarities `[pairs]` of same and of different pairs; their difference is the expectation margin."""
    mean_same, mean_different = float(similarity[same].mean()), float(similarity[~same].mean())
    margin = mean_same - mean_different
    return {"expectation_margin": margin, "mean_same": mean_same, "mean_different": mean_different}


def verify(pair_set: PairSet, embeddings: np.ndarray, replicates: int = 0, seed: int = 0) -> dict[str, Any]:
    """Compute the verification results of a set from the embeddings of its images.

    Args:
        pair_set: the pairs.
        embeddings: `[images, dim]` of unit norm, in the order of the set's images.
        replicates: how many times to resample for the intervals, 1000 usually; 0: no intervals.
        seed: of resampling.

    Returns:
        As `evaluate_pairs`; with replicates also `intervals`, number -> [low, high] of 95%, see `bootstrap_pairs`; and
        `resampled`: "people" if the set knows whom the images show, else "pairs".

    Raises:
        InputError: as `evaluate_pairs`.
    """
    return evaluate_pair_set(pair_set, embeddings, replicates, seed).result


def evaluate_pair_set(
    pair_set: PairSet,
    embeddings: np.ndarray,
    replicates: int = 0,
    seed: int = 0,
    far_targets: Mapping[str, float] = FAR_TARGETS,
) -> Outcome:
    """Evaluate the embeddings of a verification set as `verify`, with all that reports and comparisons of models need.

    `far_targets` are the false accept rates of `tar`, by name.
    Of equal images the scores name the first; they have `pair_NAME` `[pairs]` for each further column of the set.
    """
    same, first, second = np.asarray(pair_set.same, bool), pair_set.first, pair_set.second
    try:
        fold = usable_folds(same, np.asarray(pair_set.fold))
        similarity = pair_similarities(pair_set, embeddings)
        intervals: dict[str, Any] = {}
        sides = [None if pair_set.people is None else np.asarray(pair_set.people)[side] for side in (first, second)]
        points = operating_points(similarity, same, far_targets, replicates, seed, *sides)
        if replicates:
            drawn = bootstrap_pairs(similarity, same, replicates, seed, sides[0], sides[1], fold, far_targets)
            drawn.update({f"error_rates@{name}": ends for name, ends in points.intervals.items()})
            intervals["intervals"] = drawn
            intervals["resampled"] = "pairs" if pair_set.people is None else "people"
    except InputError as error:
        raise InputError(f"verification set {pair_set.name}: {error}") from None
    # An image in which no face was found has an embedding of zeros; the similarity of its pairs is 0.
    empty = ~embeddings.any(axis=1)
    failed = empty[first] | empty[second]
    # Not 2 - 2 * similarity: the k-fold numbers are InsightFace's to the last digit.
    distance = _by_pair(pair_set, embeddings, lambda a, b: (a - b) ** 2)
    # Else two such images would be the same person: their distance is 0.
    distance[failed] = 2
    accuracy = k_fold_accuracy(distance, same, fold)
    tar, far = k_fold_tar(distance, same, fold)
    threshold, threshold_accuracy = best_threshold(distance, same)
    curve = roc.roc_curve(similarity, same)
    # None if one or two pairs would decide it.
    tars: dict[str, Optional[float]] = dict.fromkeys(far_targets)
    measurable = bootstrapped_targets(same, far_targets)
    tars.update((name, roc.tar_at_far(*curve, target)) for name, target in measurable.items())
    result = {
        "set": pair_set.name,
        "protocol": "pairs",
        "pairs": len(same),
        "same": int(same.sum()),
        "folds": len(accuracy),
        "accuracy": float(accuracy.mean()),
        "accuracy_std": float(accuracy.std()),
        "auc": roc.auc(*curve),
        "eer": roc.eer(*curve),
        "tar": tars,
        "error_rates": points.rates,
        **mean_similarities(similarity, same),
        "threshold": threshold,
        "threshold_accuracy": threshold_accuracy,
        # None if no fold has both classes.
        "val": {"tar": float(tar.mean()), "tar_std": float(tar.std()), "far": float(far.mean())} if len(tar) else None,
        **({"failed_pairs": int(failed.sum())} if failed.any() else {}),
        **intervals,
    }
    # A test of two models must know that pairs share an image.
    place = np.arange(len(pair_set.images)) if pair_set.copy_of is None else pair_set.copy_of
    scores = {"similarity": similarity, "same": same, "fold": fold, "first": place[first], "second": place[second]}
    if pair_set.people is not None:
        # Text of a fixed width is stored without pickle.
        scores["people"] = np.array([str(person) for person in pair_set.people])
    if pair_set.pair_columns is not None:
        for name, column in pair_set.pair_columns.items():
            text = column.dtype.kind not in "biuf"
            scores[f"pair_{name}"] = column.to_numpy(str if text else None)
    return Outcome(result, scores)


def evaluate_pairs(
    model: "tf.keras.Model", pair_set: PairSet, flip: bool = True, batch_size: int = 64
) -> dict[str, Any]:
    """Evaluate an embedding model on a verification set.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        pair_set: the images and pairs.
        flip: whether to add the embedding of the mirrored image.
        batch_size: images a step.

    Returns:
        What `json.dumps` takes, rates and accuracies 0..1:

        - `set`, `protocol`, `pairs`, `same`: the name, "pairs", the number of pairs, and of same pairs.
        - `folds`, `accuracy`, `accuracy_std`: k-fold accuracy, see `k_fold_accuracy` and `usable_folds`.
        - `auc`, `eer`, `tar`: from the ROC of all pairs; `tar` by FAR, see `tar_at_far`; None at a FAR of fewer than 3
          different pairs, at which it cannot be measured.
        - `error_rates`: `threshold`, `fmr` and `fnmr` there, by the false match rate; see `operating_points`.
        - `mean_same`, `mean_different`, `expectation_margin`: the mean similarities and their difference.
        - `threshold`, `threshold_accuracy`: see `best_threshold`.
        - `val`: `tar`, `tar_std` and `far` at FAR 1e-3, see `k_fold_tar`; None if no fold has both classes.
        - `failed_pairs`: the pairs with an image whose embedding is zero, if any; they count, with similarity 0.

    Raises:
        InputError: if an image cannot be decoded, an embedding is not finite, or there are fewer than two same or two
            different pairs.
    """
    return verify(pair_set, evaluation.embed_images(model, pair_set.images, pair_set.name, flip, batch_size))


def people_of_images(pair_set: PairSet) -> np.ndarray:
    """Tell whom each image shows, `[images]` text; where the set does not, as far as same pairs link them."""
    if pair_set.people is not None:
        return np.array([str(person) for person in pair_set.people])
    place = np.arange(len(pair_set.images)) if pair_set.copy_of is None else pair_set.copy_of
    known, person = linked_people(place[pair_set.first], place[pair_set.second], np.asarray(pair_set.same, bool))
    of_image = np.full(len(place), "", object)
    of_image[known] = [f"person {number}" for number in person]
    return of_image[place].astype(str)


def add_groups(
    outcome: Outcome, pair_set: PairSet, groups: Mapping[str, Groups], targets: Mapping[str, float], settings: Bootstrap
) -> Outcome:
    """Add error rates by group to the outcome of a set of pairs, at the thresholds of all of its pairs.

    The result gets `groups`, `differences` and `notes`, as that of `evaluate_people`, and their intervals.
    """
    same, similarity = np.asarray(pair_set.same, bool), outcome.scores["similarity"]
    points = operating_points(similarity, same, targets, 0, settings.seed).rates["threshold"]
    thresholds = {name: value for name, value in points.items() if value is not None}
    pairs = pair_set.first, pair_set.second, same
    found = compare_groups(groups, people_of_images(pair_set), similarity, pairs, thresholds, *settings)
    different = int(np.sum(~same))
    notes = [
        f"FMR {name} is not measured with {different:,} pairs of two people. {rules_text(targets[name], different)}"
        for name, value in points.items()
        if value is None
    ]
    result = {**outcome.result, "groups": found.groups, "differences": found.differences}
    result["notes"] = notes + found.notes
    if settings.replicates:
        result["intervals"] = {**result.get("intervals", {}), **found.intervals}
    return dataclasses.replace(outcome, result=result)


def race_groups(
    sets: Sequence[PairSet], outcomes: Sequence[Outcome], targets: Mapping[str, float], settings: Bootstrap
) -> Outcome:
    """Summarise RFW, with the races as groups of all pairs of the four sets, at one threshold."""
    by_name = {pair_set.name: (pair_set, outcome) for pair_set, outcome in zip(sets, outcomes)}
    races = [by_name[rfw_name(race)] for race in RACES]
    starts = np.cumsum([0, *(len(pair_set.images) for pair_set, _ in races)])
    first, second = (
        np.concatenate([getattr(pair_set, side) + start for (pair_set, _), start in zip(races, starts)])
        for side in ("first", "second")
    )
    same = np.concatenate([pair_set.same for pair_set, _ in races])
    # Nobody is of two races.
    people = np.concatenate([np.char.add(f"{s.name}/", people_of_images(s)) for s, _ in races])
    images: list[bytes] = [b""] * len(people)
    together = PairSet("rfw", images, first, second, same, np.zeros(len(same), np.int64), people=people)
    summary = summarise_rfw([outcome.result for _, outcome in races])
    similarity = np.concatenate([outcome.scores["similarity"] for _, outcome in races])
    groups = {"race": Groups([race.lower() for race in RACES], np.repeat(np.arange(len(RACES)), np.diff(starts)))}
    added = add_groups(Outcome(summary, {"similarity": similarity}), together, groups, targets, settings)
    return Outcome(added.result, {})


def summarise_rfw(results: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """Summarise the verification results of the four races, each once and in any order.

    `std` is that of a sample (n - 1), as TFace's; the `skewed_error_ratio` (Wang and Deng, CVPR 2020) is the largest
    error rate over the smallest: 1 is fair; None if a race has no error.
    """
    names = [str(result["set"]) for result in results]
    wanted = [rfw_name(race) for race in RACES]
    if sorted(names) != wanted:
        raise InputError(f"results of {', '.join(names) or 'nothing'}: RFW is {', '.join(wanted)}, each once")
    by_name = {str(result["set"]): result for result in results}
    accuracy = np.array([by_name[name]["accuracy"] for name in wanted])
    error = 1 - accuracy
    return {
        "set": "rfw",
        "protocol": "rfw",
        "pairs": sum(int(result["pairs"]) for result in results),
        "accuracy": {race.lower(): float(value) for race, value in zip(RACES, accuracy)},
        "mean": float(accuracy.mean()),
        "std": float(accuracy.std(ddof=1)),
        "skewed_error_ratio": float(error.max() / error.min()) if error.min() > 0 else None,
        "worst": RACES[int(np.argmin(accuracy))].lower(),
    }
