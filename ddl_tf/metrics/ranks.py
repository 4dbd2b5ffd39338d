"""Identification: every probe is searched in a gallery; at which rank is a mate, an entry of the same person, found?"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress

# 512 x 8192 similarities in float64 are 32 MiB, whatever the sizes of the sets.
PROBES_AT_A_TIME, GALLERY_AT_A_TIME = 512, 8192
# The rounding of a sum of some thousand products in float64 depends on the place of a row in a block.
_TIE = 1e-12
# Similarities of `search_galleries` that are in memory at a time.
_CELLS = 2**23


@dataclasses.dataclass(frozen=True)
class Search:
    """The ranks of all mates of each probe among the whole gallery, rising, int from 1; and the largest similarities.

    Those of the best mate, and of the best entry that is no mate, are `[probes]` float64; -inf if there is none.
    `other` `[probes]` int is the position of that entry in the gallery, the first of equal ones; -1 if there is none.
    """

    mate_ranks: list[np.ndarray]
    mate_similarity: np.ndarray
    other_similarity: np.ndarray
    other: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """`[probes]` int, the rank of the best mate, from 1; 0 if the gallery has none."""
        return np.array([ranks[0] if len(ranks) else 0 for ranks in self.mate_ranks], np.int64)


def search_gallery(
    probes: np.ndarray, gallery: np.ndarray, probe_people: np.ndarray, gallery_people: np.ndarray
) -> Search:
    """Search every probe in a gallery, in memory that does not grow with the product of their numbers.

    The rank of a mate is 1 more than the number of entries before it. An entry of another person that is *as similar*
    as the mate stands before it: a network that gives one embedding for everything finds nobody. (The field's scripts
    sort with `argsort`, so that a tie falls to whichever stands first or last in the gallery.) The similarities are
    summed in float64; those closer than 1e-12 are equal.

    Args:
        probes: `[probes, dim]` of unit norm.
        gallery: `[gallery, dim]` of unit norm.
        probe_people: `[probes]`, whom each probe shows.
        gallery_people: `[gallery]`, whom each entry of the gallery shows.

    Raises:
        InputError: if the sizes do not fit, or an embedding is not finite.

    Example:
        >>> faces = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> search_gallery(faces[:1], faces[1:], np.array([7]), np.array([5, 7])).rank
        array([2])
    """
    _check(probes, gallery, probe_people, gallery_people)
    # The positions of each probe's mates in the gallery, rising.
    order = np.argsort(gallery_people, kind="stable")
    people = np.asarray(gallery_people)[order]
    first, end = (np.searchsorted(people, probe_people, side) for side in ("left", "right"))
    mates = [order[low:high] for low, high in zip(first, end)]
    mate_similarity = np.full(len(probes), -np.inf)
    other_similarity, other = np.full(len(probes), -np.inf), np.full(len(probes), -1)
    mate_ranks = []
    with Progress("search", len(probes), unit="probe") as progress:
        for start in range(0, len(probes), PROBES_AT_A_TIME):
            rows = slice(start, start + PROBES_AT_A_TIME)
            block = probes[rows].astype(np.float64)
            similarities = [np.sort(gallery[entries] @ probe)[::-1] for entries, probe in zip(mates[rows], block)]
            others, other_similarity[rows], other[rows] = _count_others(block, gallery, mates[rows], similarities)
            # The k-th best mate has the better mates before it as well.
            mate_ranks += [1 + counts + np.arange(len(counts)) for counts in others]
            mate_similarity[rows] = [values[0] if len(values) else -np.inf for values in similarities]
            progress.advance(len(block))
    return Search(mate_ranks, mate_similarity, other_similarity, other)


def _check(probes: np.ndarray, gallery: np.ndarray, probe_people: np.ndarray, gallery_people: np.ndarray) -> None:
    for name, embeddings, people in (("probe", probes, probe_people), ("gallery", gallery, gallery_people)):
        if embeddings.ndim != 2 or len(embeddings) != len(people):
            raise InputError(
                f"{name} embeddings of shape {embeddings.shape} for {len(people)} people: expected "
                f"[{len(people)}, dim]; give one embedding for each person's image"
            )
        finite = np.isfinite(embeddings).all(axis=1)
        if not finite.all():
            raise InputError(
                f"{name} embedding {np.argmin(finite)} is not finite ({np.sum(~finite)} of {len(finite)} are not); "
                "use a checkpoint from before training diverged"
            )
    if probes.shape[1] != gallery.shape[1]:
        raise InputError(
            f"probe embeddings of length {probes.shape[1]}, gallery embeddings of length {gallery.shape[1]}: "
            "embed both with one model"
        )


def _count_others(
    probes: np.ndarray, gallery: np.ndarray, mates: list[np.ndarray], similarities: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray, np.ndarray]:
    """Count for each mate of each probe the entries of others that are at least as similar; and find the top one."""
    others = [np.zeros(len(values), np.int64) for values in similarities]
    top, place = np.full(len(probes), -np.inf), np.full(len(probes), -1)
    rows = np.repeat(np.arange(len(probes)), [len(entries) for entries in mates])
    positions = np.concatenate(mates)
    for start in range(0, len(gallery), GALLERY_AT_A_TIME):
        block = gallery[start : start + GALLERY_AT_A_TIME].astype(np.float64)
        similarity = probes @ block.T
        inside = (positions >= start) & (positions < start + len(block))
        similarity[rows[inside], positions[inside] - start] = -np.inf
        best = similarity.argmax(axis=1)
        values = similarity[np.arange(len(probes)), best]
        higher = values > top
        top[higher], place[higher] = values[higher], start + best[higher]
        for row, (thresholds, counts) in enumerate(zip(similarities, others)):
            for mate, threshold in enumerate(thresholds):
                counts[mate] += np.count_nonzero(similarity[row] >= threshold - _TIE)
    return others, top, place


def ranks(probes: np.ndarray, gallery: np.ndarray, probe_people: np.ndarray, gallery_people: np.ndarray) -> np.ndarray:
    """Find the rank of the best mate of every probe, `[probes]` int from 1, as `search_gallery`; 0 without a mate."""
    return search_gallery(probes, gallery, probe_people, gallery_people).rank


def rank_rates(rank: np.ndarray, ks: Sequence[int]) -> np.ndarray:
    """Compute the share of the probes whose best mate is among the k most similar entries.

    Args:
        rank: `[probes]` int, at least one, from 1; 0 = never found.
        ks: the k of rank-k.

    Returns:
        `[len(ks)]`, each 0..1.

    Example:
        >>> rank_rates(np.array([1, 3, 0, 1]), [1, 5])
        array([0.5 , 0.75])
    """
    return np.searchsorted(np.sort(rank[rank > 0]), np.asarray(ks), side="right") / len(rank)


def cmc_curve(rank: np.ndarray, max_rank: int) -> np.ndarray:
    """Compute the cumulative match characteristic, the `rank_rates` of rank 1 to `max_rank`: `[max_rank]`."""
    return rank_rates(rank, range(1, max_rank + 1))


def average_precisions(mate_ranks: Sequence[np.ndarray], num_mates: np.ndarray) -> np.ndarray:
    """Compute the average precision of each probe, by the rule of TinyFace's and Market-1501's `compute_AP`.

    That rule integrates precision over recall by trapezoids: each mate contributes the mean of the precision at its
    rank and of that at the rank before (1 before the first rank). It gives somewhat less than scikit-learn's
    `average_precision_score`, which takes the precision at the mate's rank alone. The mean over the probes is the mAP.

    Args:
        mate_ranks: for each probe the ranks of the mates that can be found, rising, from 1.
        num_mates: `[probes]` int, at least 1, with those that cannot be found, which contribute 0.

    Returns:
        `[probes]`, each 0..1.

    Example:
        >>> average_precisions([np.array([1, 4])], np.array([2]))  # (1 + 1) / 2 and (1/3 + 2/4) / 2, halved
        array([0.70833333])

    References:
        https://qmul-tinyface.github.io, compute_AP.m of the evaluation code
    """
    precisions = np.zeros(len(mate_ranks))
    for probe, rank in enumerate(mate_ranks):
        hits = np.arange(1, len(rank) + 1)
        previous = np.where(rank > 1, (hits - 1) / np.maximum(rank - 1, 1), 1.0)
        precisions[probe] = np.sum(hits / rank + previous) / 2
    return precisions / num_mates


def tpir_at_fpir(
    rank: np.ndarray, mate_similarity: np.ndarray, nonmated_similarity: np.ndarray, fpir_targets: Sequence[float]
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the true positive identification rate at some false positive identification rates (open-set search).

    FPIR is the share of the non-mated probes whose most similar entry reaches the threshold. TPIR is the share of the
    mated probes whose mate reaches it and is at rank 1. The threshold is the lowest one whose FPIR is not above the
    target; nothing is interpolated, so with fewer than `1 / target` non-mated probes it is that of FPIR 0.

    Args:
        rank: `[mated probes]` int, at least one, from 1; 0 = never found.
        mate_similarity: `[mated probes]`, of the best mate.
        nonmated_similarity: `[non-mated probes]`, at least one, of the most similar entry; -inf without images.
        fpir_targets: each 0..1.

    Returns:
        `[targets]` TPIR, and `[targets]` thresholds, which a similarity reaches when it is at least as high.

    Example:
        >>> tpir, _ = tpir_at_fpir(np.array([1, 1]), np.array([0.9, 0.5]), np.array([0.6, 0.2]), [0.0, 0.5])
        >>> tpir
        array([0.5, 1. ])

    References:
        Grother, Ngan and Hanaoka, Face Recognition Vendor Test part 2: Identification, NISTIR 8271, section 3.
    """
    top = np.append(np.sort(nonmated_similarity)[::-1], -np.inf)
    # The product of a rate and a count that should be whole may fall just below it.
    allowed = np.floor(np.asarray(fpir_targets, float) * len(nonmated_similarity) + 1e-9).astype(int)
    thresholds = np.where(np.isfinite(top[allowed]), np.nextafter(top[allowed], np.inf), -np.inf)
    first_ranked = mate_similarity[rank == 1]
    return np.array([np.count_nonzero(first_ranked >= threshold) for threshold in thresholds]) / len(rank), thresholds


@dataclasses.dataclass(frozen=True)
class GalleriesSearch:
    """The result of a search of probes in galleries; a tie with the mate counts against it.

    `mate` `[probes]` is the similarity of the mate, -inf if there is none; `above` `[galleries, probes]` how many
    others of each gallery are as similar or more; `best_other` `[galleries, probes]` the largest similarity of another
    template, -inf for none; `largest_others` the largest similarities of all probes and templates of others, falling.
    """

    mate: np.ndarray
    above: np.ndarray
    best_other: np.ndarray
    largest_others: np.ndarray


def search_galleries(
    probes: np.ndarray, galleries: Sequence[np.ndarray], mate: np.ndarray, keep: int
) -> GalleriesSearch:
    """Compare every probe `[probes, dim]` with every template of galleries `[templates, dim]` of unit norm, in blocks.

    `mate` `[probes]` int is the position of the mate in the concatenated galleries, -1 if there is none; `keep` says
    how many of the largest similarities of others are wanted.
    """
    gallery = np.concatenate(galleries)
    bounds = np.cumsum([0, *map(len, galleries)]).tolist()
    parts = [slice(start, end) for start, end in zip(bounds, bounds[1:])]
    mates = np.full(len(probes), -np.inf)
    above = np.zeros([len(parts), len(probes)], np.int32)
    best_other = np.full([len(parts), len(probes)], -np.inf)
    largest, floor = np.empty(0), -np.inf
    height = max(1, _CELLS // max(1, len(gallery)))
    with Progress("search", len(probes), unit="probe") as progress:
        for start in range(0, len(probes), height):
            block = slice(start, min(start + height, len(probes)))
            similarity = probes[block] @ gallery.T
            rows = np.flatnonzero(mate[block] >= 0)
            columns = mate[block][rows]
            mates[start + rows] = similarity[rows, columns]
            similarity[rows, columns] = -np.inf
            for number, part in enumerate(parts):
                above[number, block] = np.sum(similarity[:, part] >= mates[block, np.newaxis], axis=1)
                best_other[number, block] = np.max(similarity[:, part], axis=1, initial=-np.inf)
            largest = np.concatenate([largest, similarity[similarity > floor]])
            if len(largest) > keep:
                largest = np.partition(largest, len(largest) - keep)[len(largest) - keep :]
                floor = largest.min(initial=np.inf)
            progress.advance(len(similarity))
    return GalleriesSearch(mates, above, best_other, np.sort(largest)[::-1])


def pooled_tpir(search: GalleriesSearch, num_probes: int, rate: float) -> float:
    """Compute the true positive identification rate as InsightFace's `ijb_1n.py`: a share of all probes, 0..1.

    The threshold is the ceil(probes x rate)-th largest similarity of all pairs of a probe and another's template, in
    all galleries together: the rate is false accepts for each probe, not probes with a false accept. A mate above the
    threshold counts at any rank; `num_probes` counts those without images.
    """
    place = math.ceil(num_probes * rate)
    threshold = search.largest_others[place - 1] if place <= len(search.largest_others) else -np.inf
    return float(np.sum(search.mate > threshold) / num_probes)
