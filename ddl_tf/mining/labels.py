"""Whose face an image shows, as a model sees it: own and other identities, and identities that are one person."""

import dataclasses
from collections.abc import Iterator
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.evaluation.embedding_file import Embeddings
from ddl_tf.runtimes.views import unit

# Similarities that are in memory at a time, and how often the core of an identity is searched anew at most.
_BLOCK_ELEMENTS, _ROUNDS = 2**24, 5
# An image is as far from its identity as from anybody's if it is below this share of the similarities to others.
_OF_OTHERS = 0.95
# The standard deviation of normal values, by the median of their distances from their median.
_NORMAL = 1.4826


@dataclasses.dataclass(frozen=True)
class LabelRules:
    """When a label is wrong, and when two identities are one person.

    The limits follow from the set: each is so many standard deviations from the median of what most images have.

    Attributes:
        deviations: how many. Of a normal distribution 1 in 4,300 lies beyond 3.5.
        margin: how much nearer than to its own identity an image must be to another.
        same_similarity: similarity from which on two identities are one person; None: from the set.
    """

    deviations: float = 3.5
    margin: float = 0.1
    same_similarity: Optional[float] = None

    def __post_init__(self) -> None:
        if not self.deviations > 0:
            raise InputError(f"the deviations from the median must be above 0, got {self.deviations}")
        if not 0 <= self.margin < 2:
            raise InputError(f"the margin is a difference of cosine similarities, in [0, 2), got {self.margin}")
        if self.same_similarity is not None and not -1 < self.same_similarity < 1:
            raise InputError(f"the same-person similarity is a cosine, in (-1, 1), got {self.same_similarity}")


class Labels(NamedTuple):
    """How the labels of a set look to a model.

    Attributes:
        own_similarity: `[images]` float32, to the core of the image's identity without the image itself; NaN where
            there is no other image.
        other_similarity: `[images]` float32, to the nearest core of another person.
        nearest_identity: `[images]` int64, whose that is; -1 where there is none.
        wrong: `[images]` bool, nearer to another person than to its own identity.
        outlier: `[images]` bool, far from its own identity, and near to nobody.
        person: `[identities]` int64, equal where identities are one person.
        same: a row for each pair of identities that are one person: `first`, `second`, `similarity`.
        limits: that followed from the set: `outlier` (of the own similarity), `other` and `same`.
    """

    own_similarity: np.ndarray
    other_similarity: np.ndarray
    nearest_identity: np.ndarray
    wrong: np.ndarray
    outlier: np.ndarray
    person: np.ndarray
    same: pd.DataFrame
    limits: dict[str, float]


def judge_labels(
    embeddings: Embeddings, identity: np.ndarray, num_identities: int, usable: np.ndarray, rules: LabelRules
) -> Labels:
    """Judge every label by the similarity of the image to its own and to other identities.

    An identity is first seen by its core, the nearer half of its images (`find_core`), so that wrong labels do not move
    it; then by all of its images that were neither wrong nor outliers so.

    Args:
        embeddings: of the images.
        identity: `[images]` int64.
        num_identities: their number.
        usable: `[images]` bool, what may define an identity: no copies, no images without a face.
        rules: when a label is wrong.

    Raises:
        InputError: if fewer than two identities have a usable image.
    """
    core = find_core(embeddings, identity, num_identities, usable)
    first = _judge(embeddings, identity, num_identities, core, usable, rules)
    good = usable & ~first.wrong & ~first.outlier
    # Where nothing is good, such as of two images of two people, it cannot be told which is wrong.
    good |= core & ~first.wrong & (np.bincount(identity[good], minlength=num_identities)[identity] == 0)
    return _judge(embeddings, identity, num_identities, good, usable, rules)


def _judge(
    embeddings: Embeddings,
    identity: np.ndarray,
    num_identities: int,
    core: np.ndarray,
    usable: np.ndarray,
    rules: LabelRules,
) -> Labels:
    """Judge by the means of what is `[images]` in the core; the limits are of all that is usable."""
    present = np.unique(identity[core])
    if len(present) < 2:
        raise InputError(f"{len(present)} identity has usable images: labels are judged by comparing at least two")
    own = own_similarity(embeddings, identity, num_identities, core)
    centers = unit(_sums(embeddings, identity, num_identities, core)[present])
    by_chance = _similarities_by_chance(embeddings, identity, centers, present)
    # Far from its own also by the measure of who is not: of a good network most images are nearer than that.
    far = min(robust_limit(own[usable], -rules.deviations), float(np.quantile(by_chance, _OF_OTHERS)))
    limits = {"outlier": far}
    nearest = np.concatenate([block.max(axis=1) for _, block in _similarities(centers)])
    given = rules.same_similarity
    limits["same"] = robust_limit(nearest, rules.deviations) if given is None else given
    same = _pairs_above(centers, limits["same"])
    same = same.assign(first=present[same["first"]], second=present[same["second"]])
    # The mean of two people is near to both, and is neither.
    apart = np.bincount(identity[core & (own < limits["outlier"])], minlength=num_identities)
    mixed = 2 * apart > np.bincount(identity[core], minlength=num_identities)
    same = same[~(mixed[same["first"]] | mixed[same["second"]])].reset_index(drop=True)
    links = coo_matrix((np.ones(len(same)), (same["first"], same["second"])), [num_identities] * 2)
    person = connected_components(links, directed=False)[1].astype(np.int64)
    other, whose = _nearest_others(embeddings, identity, centers, present, person)
    limits["other"] = robust_limit(other[usable], rules.deviations)
    # NaN compares as False: who is alone is neither.
    wrong = (other > limits["other"]) & (other - own > rules.margin)
    outlier = (own < limits["outlier"]) & ~wrong
    return Labels(own, other, whose, wrong, outlier, person, same, limits)


def robust_limit(values: np.ndarray, deviations: float) -> float:
    """So many standard deviations above (or, negative, below) the median, as if there were no values beyond.

    Median and deviation are those of the values within the limits on both sides, found by repetition. The deviation is
    by the median distance from the median on the other side, where no fault is. NaN is left out.

    Example:
        >>> round(robust_limit(np.append(np.random.default_rng(0).normal(size=99_000), np.full(20_000, 9.0)), 3), 1)
        3.0
    """
    values = np.sort(values[np.isfinite(values)])
    if not len(values):
        return float("nan")
    kept, before = values, -1
    while len(kept) != before:
        before, middle = len(kept), np.median(kept)
        other_side = kept[kept <= middle] if deviations > 0 else kept[kept >= middle]
        spread = _NORMAL * np.median(np.abs(other_side - middle))
        # Of those that are left, never of all: the number falls until it stays.
        kept = kept[np.abs(kept - middle) <= abs(deviations) * spread]
    return float(middle + deviations * spread)


def find_core(embeddings: Embeddings, identity: np.ndarray, num_identities: int, usable: np.ndarray) -> np.ndarray:
    """Find the core of every identity: more than half of its usable images, the nearest to the mean of one another.

    The concentration steps of the minimum covariance determinant, with cosines: from the mean of all to the nearer half
    of the images and their mean, until nothing changes.

    Returns:
        `[images]` bool.

    References:
        Rousseeuw and Van Driessen, A fast algorithm for the minimum covariance determinant estimator, Technometrics
        41(3), 1999.
    """
    core = usable
    counts = np.bincount(identity[usable], minlength=num_identities)
    for _ in range(_ROUNDS):
        own = own_similarity(embeddings, identity, num_identities, core)
        order = np.lexsort((-np.where(usable, np.nan_to_num(own, nan=-2), -3), identity))
        starts = np.searchsorted(identity[order], np.arange(num_identities))
        rank = np.empty(len(identity), np.int64)
        rank[order] = np.arange(len(identity)) - starts[identity[order]]
        nearer = usable & (rank < counts[identity] // 2 + 1)
        if np.array_equal(nearer, core):
            break
        core = nearer
    return core


def _sums(embeddings: Embeddings, identity: np.ndarray, num_identities: int, chosen: np.ndarray) -> np.ndarray:
    """The sums of the chosen unit embeddings of every identity."""
    return mean_sums(embeddings, np.where(chosen, identity, num_identities), num_identities + 1)[:-1]


def own_similarity(embeddings: Embeddings, identity: np.ndarray, num_identities: int, core: np.ndarray) -> np.ndarray:
    """The similarity of every image to the mean of its identity's core without itself; NaN where nothing is left."""
    sums = _sums(embeddings, identity, num_identities, core)
    others = np.bincount(identity[core], minlength=num_identities)[identity] - core
    own = np.full(len(identity), np.nan, np.float32)
    for start, rows in embeddings.chunks():
        span = slice(start, start + len(rows))
        normal = unit(rows)
        rest = sums[identity[span]] - normal * core[span, np.newaxis]
        own[span] = np.where(others[span] > 0, np.sum(normal * unit(rest), axis=1), np.nan)
    return own


def _similarities(centers: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """Blocks of the similarities of centers to one another, -2 to themselves, each with the number of its first row."""
    rows = max(1, _BLOCK_ELEMENTS // len(centers))
    for start in range(0, len(centers), rows):
        block = centers[start : start + rows] @ centers.T
        block[np.arange(len(block)), start + np.arange(len(block))] = -2
        yield start, block


def _pairs_above(centers: np.ndarray, limit: float) -> pd.DataFrame:
    parts = [(np.empty(0, np.int64), np.empty(0, np.int64), np.empty(0, np.float32))]
    for start, block in _similarities(centers):
        first, second = np.nonzero(block > limit)
        later = second > first + start
        parts.append((first[later] + start, second[later], block[first[later], second[later]]))
    return pd.DataFrame(dict(zip(("first", "second", "similarity"), map(np.concatenate, zip(*parts)))))


def _similarities_by_chance(
    embeddings: Embeddings, identity: np.ndarray, centers: np.ndarray, present: np.ndarray
) -> np.ndarray:
    """The similarity of every image to the center of another identity, drawn at random."""
    rng = np.random.default_rng(0)
    place = np.searchsorted(present, identity) + rng.integers(1, len(present), len(identity))
    parts = [
        np.sum(unit(rows) * centers[place[start : start + len(rows)] % len(present)], axis=1)
        for start, rows in embeddings.chunks()
    ]
    return np.concatenate(parts)


def _nearest_others(
    embeddings: Embeddings, identity: np.ndarray, centers: np.ndarray, present: np.ndarray, person: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """The similarity of every image to the nearest of the centers that is of another person, and its identity."""
    similarity, whose = np.full(len(identity), np.nan, np.float32), np.full(len(identity), -1)
    of_center = person[present]
    with Progress("compare with identities", len(identity)) as progress:
        for start, rows in embeddings.chunks(max(1, _BLOCK_ELEMENTS // len(present))):
            people = person[identity[start : start + len(rows)]]
            block = unit(rows) @ centers.T
            # A person's centers are few, and most have one.
            block[people[:, np.newaxis] == of_center] = -2
            best = block.argmax(axis=1)
            near = block[np.arange(len(block)), best]
            known = near > -2
            similarity[start : start + len(rows)] = np.where(known, near, np.nan)
            whose[start : start + len(rows)] = np.where(known, present[best], -1)
            progress.advance(len(rows))
    return similarity, whose


def mean_sums(embeddings: Embeddings, identity: np.ndarray, num_identities: int) -> np.ndarray:
    """Add up the unit embeddings of every identity: `[num_identities, dim]` float32."""
    sums = np.zeros([num_identities, embeddings.shape[1]], np.float32)
    for start, rows in embeddings.chunks():
        people = identity[start : start + len(rows)]
        order = np.argsort(people, kind="stable")
        numbers, begins = np.unique(people[order], return_index=True)
        sums[numbers] += np.add.reduceat(unit(rows)[order], begins, axis=0)
    return sums
