"""How certain a true accept rate of millions of pairs is: bootstraps whose cost does not grow with all pairs."""

from collections.abc import Mapping

import numpy as np

from ddl_tf.evaluation.template_roc import nearest_tar
from ddl_tf.progress import Progress

# So many false accepts must be expected at a target: the bootstrap of an extreme value is not valid.
MIN_FALSE_ACCEPTS = 3
# Of more different pairs than these only the most similar can matter, this many times those of the largest target.
_FEW, _MARGIN = 1_000_000, 2.0


def _valid(targets: Mapping[str, float], num_different: int) -> dict[str, float]:
    # The product of 1e-3 and 3000 may be rounded to less than 3.
    return {name: far for name, far in targets.items() if round(far * num_different, 6) >= MIN_FALSE_ACCEPTS}


def _percentiles(values: np.ndarray, names: Mapping[str, float]) -> dict[str, list[float]]:
    low, high = np.percentile(values, [2.5, 97.5], axis=0)
    return {name: [float(low[place]), float(high[place])] for place, name in enumerate(names)}


def intervals_over_pairs(
    false: np.ndarray, true: np.ndarray, targets: Mapping[str, float], replicates: int, seed: int
) -> dict[str, list[float]]:
    """Compute 95% intervals of `nearest_tar` by the Poisson bootstrap over pairs.

    Every pair gets a weight drawn from Poisson(1). The ROC needs only the sums of the weights between two of its
    points, and those are Poisson with the number of pairs there: a replicate costs as much as the ROC has points,
    however many pairs there are. People are in many pairs, so that these intervals are too narrow; where it is known
    whom the pairs show, use `intervals_over_people`.

    Args:
        false: `[points]` false accepts of `corner_roc`.
        true: `[points]` true accepts of `corner_roc`.
        targets: name -> false accept rate.
        replicates: how often to draw.
        seed: of the draws.

    Returns:
        Name -> [low, high]; without targets of less than three false accepts, which have no valid interval.
    """
    names = _valid(targets, int(false[-1]))
    random = np.random.default_rng(seed)
    steps = np.diff(false), np.diff(true)
    values = np.empty([replicates, len(names)])
    for replicate in range(replicates):
        counts = [np.concatenate([[0], np.cumsum(random.poisson(step))]) for step in steps]
        # A class that got no weight at all has no rate; 1 keeps it at 0.
        far, tar = (count / max(1, count[-1]) for count in counts)
        values[replicate] = [nearest_tar(far, tar, target) for target in names.values()]
    return _percentiles(values, names)


def intervals_over_people(
    similarity: np.ndarray,
    same: np.ndarray,
    first_person: np.ndarray,
    second_person: np.ndarray,
    targets: Mapping[str, float],
    replicates: int,
    seed: int,
) -> dict[str, list[float]]:
    """Compute 95% intervals of `nearest_tar` by the bootstrap over people.

    People are drawn with replacement, and their pairs with them: a same pair counts as often as its person was drawn, a
    different one as the product of its two people's numbers. Of many different pairs, only those that could be above a
    threshold are weighted one by one; the weight of all of them follows from the number of pairs of each two people.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, with both classes present.
        first_person: `[pairs]` int, whom the first template shows, numbered from 0.
        second_person: `[pairs]` int, whom the second one shows.
        targets: name -> false accept rate.
        replicates: how often to draw.
        seed: of the draws.

    Returns:
        Name -> [low, high]; without targets of less than three false accepts, which have no valid interval.

    References:
        Bolle, Ratha and Pankanti, "Error analysis of pattern recognition systems: the subsets bootstrap", CVIU 2004.
    """
    different = ~same
    names = _valid(targets, int(np.sum(different)))
    num_people = 1 + int(max(first_person.max(), second_person.max()))
    # How many different pairs there are of each two people.
    key = first_person[different].astype(np.int64) * num_people + second_person[different]
    met = np.bincount(key, minlength=num_people**2).reshape(num_people, num_people).astype(np.float64)
    own = np.argsort(-similarity[same], kind="stable")
    owner = first_person[same][own]
    chosen = _most_similar(similarity, different, max(names.values(), default=0.0))
    # How many same pairs are more similar; a tie is accepted together with the same pair.
    ascending = similarity[same][own][::-1]
    above = len(owner) - np.searchsorted(ascending, similarity[chosen], side="right")
    order = np.argsort(above, kind="stable")
    first, second = first_person[chosen][order], second_person[chosen][order]
    ends = np.cumsum(np.bincount(above, minlength=len(owner) + 1))[: len(owner)]
    random = np.random.default_rng(seed)
    values = np.empty([replicates, len(names)])
    with Progress("bootstrap", replicates, unit="replicate") as progress:
        for replicate in range(replicates):
            times = np.bincount(random.integers(0, num_people, num_people), minlength=num_people)
            true = np.cumsum(times[owner])
            false = np.concatenate([[0], np.cumsum(times[first] * times[second])])[ends]
            # Points of the ROC: nothing, every same pair with all that is as similar or more, everything.
            tar = np.concatenate([[0.0], true / max(1, true[-1]), [1.0]])
            far = np.concatenate([[0.0], false / max(1.0, times @ met @ times), [1.0]])
            values[replicate] = [nearest_tar(far, tar, target) for target in names.values()]
            progress.advance()
    return _percentiles(values, names)


def _most_similar(similarity: np.ndarray, different: np.ndarray, far: float) -> np.ndarray:
    """The different pairs that are above the threshold of a false accept rate, with a margin; all, if they are few."""
    places = np.flatnonzero(different)
    kept = max(_FEW, int(_MARGIN * far * len(places)))
    if kept >= len(places):
        return places
    rest = len(places) - kept
    return places[similarity[places] >= np.partition(similarity[places], rest)[rest]]
