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
    """Count the similarities `[n]` that reach each threshold; `[thresholds]`, rising, give int64, falling."""
    return len(similarity) - np.searchsorted(np.sort(similarity), thresholds, side="left")


class MateRanks:
    """Counts for each of `[pairs]` of a probe and its mate the distractors that are more, not just as, similar."""

    def __init__(self, probe: np.ndarray, similarity: np.ndarray, num_probes: int) -> None:
        self._order = np.lexsort([similarity, probe])
        self._probe, self._similarity = probe[self._order], similarity[self._order]
        self._starts = np.searchsorted(self._probe, np.arange(num_probes + 1))
        # Of each probe: the distractors that are more similar than just 0, 1, ... all of its mates.
        self._above = [np.zeros(size + 1, np.int64) for size in np.diff(self._starts)]
        self._nearest = np.full(num_probes, -np.inf, np.float32)

    def add(self, similarity: np.ndarray) -> None:
        """Count some distractors, whose similarities are `[probes, distractors]` float32."""
        np.maximum(self._nearest, similarity.max(axis=1), out=self._nearest)
        for row, start, end, above in zip(similarity, self._starts, self._starts[1:], self._above):
            mates = self._similarity[start:end]
            # One pass sorts out the most distractors, which are below all mates.
            if len(mates) and len(higher := row[row > mates[0]]):
                above += np.bincount(np.searchsorted(mates, higher), minlength=len(above))

    def ranks(self) -> np.ndarray:
        """The rank of the mate among what was added so far, `[pairs]` int32, from 1, in the order of the pairs."""
        beaten = [np.cumsum(above[::-1])[::-1][1:] for above in self._above]
        ranks = np.empty(len(self._order), np.int32)
        ranks[self._order] = 1 + np.concatenate(beaten)
        return ranks

    def ties(self) -> int:
        """Count the pairs whose mate is just as similar as the most similar distractor, and so has rank 1."""
        return int(np.sum(self._similarity == self._nearest[self._probe]))


class FalseAccepts:
    """Counts the pairs of a probe and a distractor that are accepted at the similarity of each genuine pair.

    These are all thresholds that the TAR at a FAR can have, so the ROC is exact. At a low threshold that has more false
    accepts than any of the targets allows, with a margin, they are not counted any more.

    `genuine` are `[pairs]` float32 similarities, `person` `[probes]` int, from 0; `impostors` pairs will be added in
    all. At the `thresholds` of `grid` false accepts are counted by person too.
    """

    def __init__(
        self, genuine: np.ndarray, person: np.ndarray, num_people: int, impostors: int, largest_far: float
    ) -> None:
        self.person, self.impostors = person, impostors
        self.thresholds = np.unique(genuine)
        self._grid_step = -(-len(self.thresholds) // _GRID)
        self.grid = np.arange(0, len(self.thresholds), self._grid_step)
        self._most_counted = _MARGIN * largest_far * impostors
        # The first threshold at which all false accepts are still counted.
        self._first_counted = 0
        # How many pairs lie between a threshold and the next one.
        self._between = np.zeros(len(self.thresholds), np.int64)
        self._between_by_person = np.zeros([num_people, len(self.grid)], np.int64)

    @property
    def first_on_grid(self) -> int:
        """The place of the first threshold of the grid at which all false accepts are still counted."""
        return -(-self._first_counted // self._grid_step)

    def add(self, similarity: np.ndarray) -> None:
        """Count some distractors, whose similarities are `[probes, distractors]` float32."""
        waiting: list[tuple[np.ndarray, np.ndarray]] = []
        for start in range(0, len(similarity), _PROBES):
            if self._first_counted == len(self.thresholds):
                return
            part = similarity[start : start + _PROBES]
            accepted = part >= self.thresholds[self._first_counted]
            people = np.repeat(self.person[start : start + _PROBES], accepted.sum(axis=1))
            waiting.append((part[accepted], people))
            if sum(len(values) for values, _ in waiting) > _WAITING:
                self._count(waiting)
                waiting = []
        if waiting:
            self._count(waiting)

    def _count(self, waiting: Sequence[tuple[np.ndarray, np.ndarray]]) -> None:
        values, people = (np.concatenate(column) for column in zip(*waiting))
        highest = np.searchsorted(self.thresholds, values, side="right") - 1
        self._between += np.bincount(highest, minlength=len(self._between))
        by_person = self._between_by_person
        cells = people * len(self.grid) + highest // self._grid_step
        by_person += np.bincount(cells, minlength=by_person.size).reshape(by_person.shape)
        self._first_counted = int(np.searchsorted(-self.counts(), -self._most_counted))

    def counts(self) -> np.ndarray:
        """The false accepts at each threshold, `[thresholds]` int64, falling; too few below `first_on_grid`."""
        return np.cumsum(self._between[::-1])[::-1]

    def counts_by_person(self) -> np.ndarray:
        """The false accepts of each person's probes at the thresholds of the grid: `[people, grid]` int64."""
        return np.cumsum(self._between_by_person[:, ::-1], axis=1)[:, ::-1]
