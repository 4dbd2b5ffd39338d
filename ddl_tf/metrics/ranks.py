"""Identification: every probe is searched in a gallery; at which rank is its mate found?

A probe's *mates* are the gallery's entries of the same person. Numbers of people may be anything that NumPy sorts.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress

# 512 x 8192 similarities in float64 are 32 MiB, whatever the sizes of the sets.
PROBES_AT_A_TIME, GALLERY_AT_A_TIME = 512, 8192
# The rounding of a sum of some thousand products in float64 depends on where a row stands in a block.
_TIE = 1e-12


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search of probes in a gallery found.

    Attributes:
        mate_ranks: for each probe the ranks of all its mates among the whole gallery, rising, int from 1; empty where
            the gallery has none.
        mate_similarity: `[probes]` float64 of the most similar mate; -inf where there is none.
        other_similarity: `[probes]` float64 of the most similar entry that is no mate; -inf where there is none.
    """

    mate_ranks: list[np.ndarray]
    mate_similarity: np.ndarray
    other_similarity: np.ndarray

    @property
    def rank(self) -> np.ndarray:
        """`[probes]` int, the rank of the best mate, from 1; 0 where the gallery has none."""
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

    Returns:
        Ranks and similarities.

    Raises:
        InputError: if the sizes do not fit, or an embedding is not finite.

    Example:
        >>> faces = np.array([[1.0, 0.0], [0.6, 0.8], [0.0, 1.0]])
        >>> search_gallery(faces[:1], faces[1:], np.array([7]), np.array([5, 7])).rank
        array([2])
    """
    _check(probes, gallery, probe_people, gallery_people)
    mates = _find_mates(probe_people, gallery_people)
    mate_similarity = np.full(len(probes), -np.inf)
    other_similarity = np.full(len(probes), -np.inf)
    mate_ranks = []
    with Progress("search", len(probes), unit="probe") as progress:
        for start in range(0, len(probes), PROBES_AT_A_TIME):
            rows = slice(start, start + PROBES_AT_A_TIME)
            own = mates[rows]
            block = probes[rows].astype(np.float64)
            similar = [np.sort(gallery[one] @ probe)[::-1] for one, probe in zip(own, block)]
            before, other_similarity[rows] = _count_others(block, gallery, own, similar)
            # The k-th best mate has the better mates before it as well.
            mate_ranks += [1 + others + np.arange(len(others)) for others in before]
            mate_similarity[rows] = [one[0] if len(one) else -np.inf for one in similar]
            progress.advance(len(block))
    return Search(mate_ranks, mate_similarity, other_similarity)


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


def _find_mates(probe_people: np.ndarray, gallery_people: np.ndarray) -> list[np.ndarray]:
    """Give for each probe the positions of its mates in the gallery, rising."""
    order = np.argsort(gallery_people, kind="stable")
    people = np.asarray(gallery_people)[order]
    first, end = (np.searchsorted(people, probe_people, side) for side in ("left", "right"))
    return [order[low:high] for low, high in zip(first, end)]


def _count_others(
    probes: np.ndarray, gallery: np.ndarray, mates: list[np.ndarray], similar: list[np.ndarray]
) -> tuple[list[np.ndarray], np.ndarray]:
    """Count for each mate of each probe the entries of others that are at least as similar; and find the top one."""
    before = [np.zeros(len(one), np.int64) for one in similar]
    top = np.full(len(probes), -np.inf)
    rows = np.repeat(np.arange(len(probes)), [len(one) for one in mates])
    positions = np.concatenate(mates)
    for start in range(0, len(gallery), GALLERY_AT_A_TIME):
        block = gallery[start : start + GALLERY_AT_A_TIME].astype(np.float64)
        similarity = probes @ block.T
        here = (positions >= start) & (positions < start + len(block))
        similarity[rows[here], positions[here] - start] = -np.inf
        np.maximum(top, similarity.max(axis=1), out=top)
        for row, (thresholds, counts) in enumerate(zip(similar, before)):
            for mate, threshold in enumerate(thresholds):
                counts[mate] += np.count_nonzero(similarity[row] >= threshold - _TIE)
    return before, top


def ranks(probes: np.ndarray, gallery: np.ndarray, probe_people: np.ndarray, gallery_people: np.ndarray) -> np.ndarray:
    """Find the rank of the best mate of every probe; ties count against the probe, see `search_gallery`.

    Args:
        probes: `[probes, dim]` of unit norm.
        gallery: `[gallery, dim]` of unit norm.
        probe_people: `[probes]`, whom each probe shows.
        gallery_people: `[gallery]`, whom each entry of the gallery shows.

    Returns:
        `[probes]` int, from 1; 0 where the gallery has no mate.

    Raises:
        InputError: as `search_gallery`.
    """
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
    found = np.sort(rank[rank > 0])
    return np.searchsorted(found, np.asarray(ks), side="right") / len(rank)


def cmc_curve(rank: np.ndarray, max_rank: int) -> np.ndarray:
    """Compute the cumulative match characteristic.

    Args:
        rank: `[probes]` int, at least one, from 1; 0 = never found.
        max_rank: the last rank of the curve.

    Returns:
        `[max_rank]`: the rates of rank 1, 2, ..., `max_rank`, each 0..1.
    """
    return rank_rates(rank, range(1, max_rank + 1))


def average_precisions(mate_ranks: Sequence[np.ndarray], num_mates: np.ndarray) -> np.ndarray:
    """Compute the average precision of each probe, by the rule of TinyFace's and Market-1501's `compute_AP`.

    That rule integrates precision over recall by trapezoids: each mate contributes the mean of the precision at its
    rank and of that at the rank before (1 before the first rank). It gives somewhat less than scikit-learn's
    `average_precision_score`, which takes the precision at the mate's rank alone. The mean over the probes is the mAP.

    Args:
        mate_ranks: for each probe the ranks of the mates that can be found, rising, from 1.
        num_mates: `[probes]` int, at least 1, how many there should be; one that cannot be found contributes 0.

    Returns:
        `[probes]`, each 0..1.

    Example:
        >>> average_precisions([np.array([1, 4])], np.array([2]))  # (1 + 1) / 2 and (1/3 + 2/4) / 2, halved
        array([0.70833333])

    References:
        https://qmul-tinyface.github.io, compute_AP.m of the evaluation code
    """
    precisions = np.zeros(len(mate_ranks))
    for probe, found in enumerate(mate_ranks):
        hits = np.arange(1, len(found) + 1)
        previous = np.where(found > 1, (hits - 1) / np.maximum(found - 1, 1), 1.0)
        precisions[probe] = np.sum(hits / found + previous) / 2
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
        nonmated_similarity: `[non-mated probes]`, at least one, of the most similar entry of the gallery.
        fpir_targets: each 0..1.

    Returns:
        `[targets]` TPIR, each 0..1, and `[targets]` thresholds, which a similarity reaches when it is at least as high;
        -inf where every non-mated probe may be accepted.

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
    thresholds = np.array(
        [np.nextafter(top[count], np.inf) if np.isfinite(top[count]) else -np.inf for count in allowed]
    )
    found = mate_similarity[rank == 1]
    tpir = np.array([np.count_nonzero(found >= threshold) for threshold in thresholds]) / len(rank)
    return tpir, thresholds
