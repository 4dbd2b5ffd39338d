"""What is counted while distractors stream by: exact ranks of mates, and false accepts at the mates' similarities.

Both keep something for each pair of photos of a person, and nothing for a distractor.
"""

from collections.abc import Sequence

import numpy as np

# Similarities that wait to be sorted among those of pairs, and probes whose similarities are looked at together.
_WAITING, _PROBES = 2**20, 64
# For the bootstrap false accepts are counted by person, at no more thresholds than this.
_GRID = 2000
# So far above the largest FAR the false accepts are still counted, for replicates that have fewer of them.
_MARGIN = 10


def reaching(thresholds: np.ndarray, similarity: np.ndarray) -> np.ndarray:
    """Count the similarities that reach each threshold.

    Args:
        thresholds: `[thresholds]`, rising.
        similarity: `[n]`.

    Returns:
        `[thresholds]` int64, falling.

    Example:
        >>> reaching(np.array([0.1, 0.5]), np.array([0.0, 0.3, 0.5]))
        array([2, 1])
    """
    return len(similarity) - np.searchsorted(np.sort(similarity), thresholds, side="left")


class MateRanks:
    """Counts for each pair of a probe and its mate the distractors that are more similar to the probe than the mate.

    A distractor that is just as similar is not more similar.

    Args:
        probe: `[pairs]` int, the photo that is searched for.
        similarity: `[pairs]` float32 of the probe and its mate.
        num_probes: how many probes there are.

    Example:
        >>> ranks = MateRanks(np.array([0]), np.array([0.5], np.float32), num_probes=1)
        >>> ranks.add(np.array([[0.9, 0.5, 0.4]], np.float32))
        >>> ranks.ranks()
        array([2], dtype=int32)
    """

    def __init__(self, probe: np.ndarray, similarity: np.ndarray, num_probes: int) -> None:
        self._order = np.lexsort([similarity, probe])
        self._probe, self._similarity = probe[self._order], similarity[self._order]
        self._starts = np.searchsorted(self._probe, np.arange(num_probes + 1))
        # Of each probe: the distractors that are more similar than just 0, 1, ... all of its mates.
        self._above = [np.zeros(size + 1, np.int64) for size in np.diff(self._starts)]
        self._nearest = np.full(num_probes, -np.inf, np.float32)

    def add(self, similarity: np.ndarray) -> None:
        """Count some distractors.

        Args:
            similarity: `[probes, distractors]` float32.
        """
        np.maximum(self._nearest, similarity.max(axis=1), out=self._nearest)
        for row, start, end, above in zip(similarity, self._starts, self._starts[1:], self._above):
            mates = self._similarity[start:end]
            # Most distractors are below all mates, which one pass tells.
            if len(mates) and len(higher := row[row > mates[0]]):
                above += np.bincount(np.searchsorted(mates, higher), minlength=len(above))

    def ranks(self) -> np.ndarray:
        """Give the rank of the mate in each pair, among what was added so far.

        Returns:
            `[pairs]` int32, from 1, in the order that the pairs were given in.
        """
        beaten = [np.cumsum(above[::-1])[::-1][1:] for above in self._above]
        ranks = np.empty(len(self._order), np.int32)
        ranks[self._order] = 1 + np.concatenate(beaten)
        return ranks

    def ties(self) -> int:
        """Count the pairs whose mate is just as similar as the most similar distractor, and so has rank 1."""
        return int(np.sum(self._similarity == self._nearest[self._probe]))


class FalseAccepts:
    """Counts the pairs of a probe and a distractor that are accepted at the similarity of each genuine pair.

    These are all thresholds that the TAR at a FAR can have, so the ROC is exact. Where more false accepts were seen
    than any of the targets allows, with a margin, they are not counted any more.

    Args:
        genuine: `[pairs]` float32, similarities of the genuine pairs.
        person: `[probes]` int, whose each probe is, from 0.
        num_people: how many people there are.
        impostors: how many pairs of a probe and a distractor will be added in all.
        largest_far: the largest target, 0..1.

    Attributes:
        thresholds: `[thresholds]` float32, the distinct similarities of genuine pairs, rising.
        grid: `[grid]` int, the thresholds at which false accepts are counted by person too.
    """

    def __init__(
        self, genuine: np.ndarray, person: np.ndarray, num_people: int, impostors: int, largest_far: float
    ) -> None:
        self.thresholds = np.unique(genuine)
        self._step = -(-len(self.thresholds) // _GRID)
        self.grid = np.arange(0, len(self.thresholds), self._step)
        self._person = person
        self._limit = _MARGIN * largest_far * impostors
        # Pairs that reach just so many of the thresholds, less one.
        self._total = np.zeros(len(self.thresholds), np.int64)
        self._by_person = np.zeros([num_people, len(self.grid)], np.int64)
        # The first threshold at which all are counted still, and its number.
        self._floor, self._lowest = float(self.thresholds[0]), 0

    @property
    def lowest_on_grid(self) -> int:
        """The first of the grid at which all false accepts are counted still."""
        return -(-self._lowest // self._step)

    def add(self, similarity: np.ndarray) -> None:
        """Count some distractors.

        Args:
            similarity: `[probes, distractors]` float32.
        """
        waiting: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(similarity), _PROBES):
            part = similarity[start : start + _PROBES]
            accepted = part >= self._floor
            waiting.append((part[accepted], np.repeat(self._person[start : start + _PROBES], accepted.sum(axis=1))))
            if sum(len(values) for values, _ in waiting) > _WAITING:
                self._count(waiting)
                waiting = []
        self._count(waiting)

    def _count(self, waiting: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        if not waiting:
            return
        values, person = (np.concatenate(column) for column in zip(*waiting))
        last = np.searchsorted(self.thresholds, values, side="right") - 1
        self._total += np.bincount(last, minlength=len(self._total))
        cell = person * len(self.grid) + last // self._step
        self._by_person += np.bincount(cell, minlength=self._by_person.size).reshape(self._by_person.shape)
        self._lowest = int(np.searchsorted(-self.counts(), -self._limit))
        self._floor = float(np.append(self.thresholds, np.inf)[self._lowest])

    def counts(self) -> np.ndarray:
        """Give the false accepts at each threshold: `[thresholds]` int64, falling.

        Below the lowest threshold that is counted still there are more than what is said.
        """
        return np.cumsum(self._total[::-1])[::-1]

    def counts_by_person(self) -> np.ndarray:
        """Give the false accepts of each person's probes at the thresholds of the grid: `[people, grid]` int64."""
        return np.cumsum(self._by_person[:, ::-1], axis=1)[:, ::-1]
