"""Search of templates in one or several galleries, in blocks: ranks, and open-set identification rates."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np

from ddl_tf.common.progress import Progress

_CELLS = 2**23


@dataclasses.dataclass(frozen=True)
class Search:
    """What a search of all probes gave; a tie with the mate counts against it.

    Attributes:
        mate: `[probes]` the similarity of the mate; -inf where there is none.
        above: `[galleries, probes]` how many others of each gallery are as similar as the mate or more.
        best_other: `[galleries, probes]` the largest similarity of a template that is not the mate; -inf for none.
        largest_others: the largest similarities of all pairs of a probe and a template that is not its mate,
            descending; as many as were to be kept, or as there are.
    """

    mate: np.ndarray
    above: np.ndarray
    best_other: np.ndarray
    largest_others: np.ndarray


def search_galleries(probes: np.ndarray, galleries: Sequence[np.ndarray], mate: np.ndarray, keep: int) -> Search:
    """Compare every probe with every template of the galleries, a block of probes at a time.

    Args:
        probes: `[probes, dim]` unit features.
        galleries: the `[templates, dim]` unit features of each.
        mate: `[probes]` int, the position of the mate in the concatenated galleries; -1 where there is none.
        keep: how many of the largest similarities of others are wanted.

    Returns:
        What was found.
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
            product = probes[block] @ gallery.T
            rows = np.flatnonzero(mate[block] >= 0)
            columns = mate[block][rows]
            mates[start + rows] = product[rows, columns]
            product[rows, columns] = -np.inf
            for number, part in enumerate(parts):
                above[number, block] = np.sum(product[:, part] >= mates[block, np.newaxis], axis=1)
                best_other[number, block] = np.max(product[:, part], axis=1, initial=-np.inf)
            largest = np.concatenate([largest, product[product > floor]])
            if len(largest) > keep:
                largest = np.partition(largest, len(largest) - keep)[len(largest) - keep :]
                floor = largest.min(initial=np.inf)
            progress.advance(len(product))
    return Search(mates, above, best_other, np.sort(largest)[::-1])


def pooled_tpir(search: Search, num_probes: int, rate: float) -> float:
    """Compute the true positive identification rate as InsightFace's `ijb_1n.py` does.

    The threshold is the ceil(probes x rate)-th largest similarity of all pairs of a probe and another's template, in
    all galleries together: the rate is false accepts for each probe, not probes with a false accept.

    Args:
        search: of all probes.
        num_probes: how many there are, those without images counted.
        rate: 0..1.

    Returns:
        The share of all probes whose mate is above the threshold, 0..1, at whatever rank.

    References:
        https://github.com/deepinsight/insightface, recognition/_evaluation_/ijb/ijb_1n.py
    """
    place = math.ceil(num_probes * rate)
    threshold = search.largest_others[place - 1] if place <= len(search.largest_others) else -np.inf
    return float(np.sum(search.mate > threshold) / num_probes)


def open_set_tpir(found: np.ndarray, mate: np.ndarray, non_mated: np.ndarray, fpir: float) -> float:
    """Compute the true positive identification rate at a false positive identification rate.

    The threshold is the lowest at which no more than that share of the probes without a mate have a template above it.

    Args:
        found: `[mated]` bool, whether the mate is at rank 1.
        mate: `[mated]` similarity of the mate.
        non_mated: `[non-mated]` the largest similarity of each probe without a mate; -inf of one without images.
        fpir: 0..1.

    Returns:
        The share of mated probes whose mate is at rank 1 and above the threshold, 0..1.

    Example:
        >>> open_set_tpir(np.array([True, True]), np.array([0.9, 0.4]), np.array([0.5, 0.3]), 0.1)
        0.5

    References:
        Maze et al., IARPA Janus Benchmark - C: Face Dataset and Protocol, ICB 2018; Grother and Ngan, NISTIR 8009.
    """
    allowed = math.floor(fpir * len(non_mated))
    threshold = np.sort(non_mated)[::-1][allowed] if allowed < len(non_mated) else -np.inf
    return float(np.mean(found & (mate > threshold)))
