"""Which rows make a training batch: the paper's streams, as a function of the step.

A sampler has no state: the rows of step k follow from the seed and k alone. A resumed run therefore draws what an
undisturbed one would have drawn, and steps can be prepared in parallel.
"""

import dataclasses
from typing import NamedTuple

import numpy as np
import pandas as pd

from ddl_tf.errors import InputError

NO_LABEL = -1
NO_GROUP = -1


class Rows(NamedTuple):
    """The rows of one batch.

    Attributes:
        record: `[rows]` int64, positions in the index of the stored faces.
        identity: `[rows]` int64.
        group: `[rows]` int64, the sample set that the row was drawn for; -1 = takes no part in the distillation.
        label: `[rows]` int64, the identity where the row is classified, -1 where not.
    """

    record: np.ndarray
    identity: np.ndarray
    group: np.ndarray
    label: np.ndarray


@dataclasses.dataclass(frozen=True)
class StreamSizes:
    """How many rows of each stream a batch holds.

    The paper's batch is `per_group=32, pairs_per_group=32` with groups 0 and 1: 64 classified rows and 64 pairs.

    Attributes:
        shuffled: classified rows from all images alike; each image once an epoch. They take no part in the
            distillation. This is plain margin training.
        per_group: classified rows of each group, of different identities, every identity equally often, and of
            others than the group's pairs; their negatives are mined in the batch.
        pairs_per_group: positive pairs (two rows each) of each group.
        pairs_across: whether a student's pair is one image of its group and one of the teacher's (True), or two of
            its group (False).
        classify_pairs: whether the rows of the pairs are classified too (in the paper they are not).
    """

    shuffled: int = 0
    per_group: int = 0
    pairs_per_group: int = 0
    pairs_across: bool = False
    classify_pairs: bool = False

    def __post_init__(self) -> None:
        for name in ("shuffled", "per_group", "pairs_per_group"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must not be negative, got {getattr(self, name)}")
        if not (self.shuffled or self.per_group or self.pairs_per_group):
            raise InputError("a batch must have rows: set shuffled, per_group or pairs_per_group above 0")


class _Members:
    """The records of one group, by identity."""

    def __init__(self, index: pd.DataFrame, group: int) -> None:
        records = np.flatnonzero(index["group"].to_numpy() == group)
        identity = index["identity"].to_numpy()[records]
        self.records = records[np.argsort(identity, kind="stable")]
        self.identities, self.starts, self.counts = np.unique(
            np.sort(identity, kind="stable"), return_index=True, return_counts=True
        )

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """One record of each identity: `[n]` positions in `identities` -> `[n]` records."""
        return self.records[self.starts[position] + (uniform * self.counts[position]).astype(np.int64)]

    def draw_two(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Two different records of each identity: `[n]`, and uniform `[2, n]` -> `[2, n]` records."""
        count = self.counts[position]
        first = (uniform[0] * count).astype(np.int64)
        second = (first + 1 + (uniform[1] * (count - 1)).astype(np.int64)) % count
        return self.records[self.starts[position] + np.stack([first, second])]


class StreamSampler:
    """Draws the rows of every step from the index of stored faces.

    Args:
        index: one row for each image, with the columns `identity` and `group`.
        sizes: how many rows of each stream a batch holds.
        seed: of all draws.

    Raises:
        InputError: if a stream that is asked for has no images to draw from.

    Example:
        >>> index = pd.DataFrame({"identity": [0, 0, 1, 1], "group": [0, 0, 0, 0]})
        >>> StreamSampler(index, StreamSizes(pairs_per_group=1), seed=0).rows(step=0).identity.shape
        (2,)
    """

    def __init__(self, index: pd.DataFrame, sizes: StreamSizes, seed: int = 0) -> None:
        if not len(index):
            raise InputError("the training set has no images")
        self._identity = index["identity"].to_numpy(np.int64)
        self._sizes = sizes
        self._seed = seed
        self._epoch_order: tuple[int, np.ndarray] = (-1, np.empty(0, np.int64))
        self.groups: list[int] = []
        if sizes.per_group or sizes.pairs_per_group:
            self._prepare_groups(index)

    def _prepare_groups(self, index: pd.DataFrame) -> None:
        self.groups = sorted(int(g) for g in index["group"].unique() if g >= 0)
        if not self.groups or self.groups != list(range(len(self.groups))):
            raise InputError(
                f"the training set has the groups {self.groups}: rows per group and pairs need group 0 (teacher, "
                "easy) and the groups 1..K (students, hard) after it; make groups first, or draw shuffled rows only"
            )
        self._members = [_Members(index, group) for group in self.groups]
        self._pair_identities = []
        for group, members in enumerate(self._members if self._sizes.pairs_per_group else []):
            if self._crosses(group):
                teacher = self._members[0]
                _, own, others = np.intersect1d(members.identities, teacher.identities, return_indices=True)
                choices = np.stack([own, others])
                wanted = "images in it and in group 0"
            else:
                own = np.flatnonzero(members.counts >= 2)
                choices = np.stack([own, own])
                wanted = "two images in it"
            if not choices.shape[1]:
                raise InputError(f"group {group} has no positive pair: none of its identities has {wanted}")
            self._pair_identities.append(choices)

    def _crosses(self, group: int) -> bool:
        return self._sizes.pairs_across and group > 0

    @property
    def num_rows(self) -> int:
        """How many rows a batch has."""
        sizes = self._sizes
        return sizes.shuffled + len(self.groups) * (sizes.per_group + 2 * sizes.pairs_per_group)

    @property
    def steps_per_epoch(self) -> int:
        """After how many steps as many classified rows were drawn as there are images to draw from.

        With shuffled rows an epoch sees each image once. Without, it is as long as the images of the groups last.
        """
        sizes = self._sizes
        if sizes.shuffled:
            return -(-len(self._identity) // sizes.shuffled)
        images = sum(len(members.records) for members in self._members)
        return -(-images // (len(self.groups) * (sizes.per_group or 2 * sizes.pairs_per_group)))

    def _shuffled(self, step: int) -> np.ndarray:
        """The records at the positions of this step in an endless sequence of shuffled epochs."""
        size, total = self._sizes.shuffled, len(self._identity)
        positions = np.arange(step * size, (step + 1) * size)
        records = np.empty(size, np.int64)
        for epoch in range(positions[0] // total, positions[-1] // total + 1):
            here = positions // total == epoch
            records[here] = self._order(epoch)[positions[here] % total]
        return records

    def _order(self, epoch: int) -> np.ndarray:
        cached_epoch, order = self._epoch_order
        if cached_epoch != epoch:
            order = np.random.default_rng([self._seed, 0, epoch]).permutation(len(self._identity))
            # One assignment of both, for threads that draw steps of two epochs at a time.
            self._epoch_order = (epoch, order)
        return order

    def rows(self, step: int) -> Rows:
        """Draw the rows of one step.

        Args:
            step: from 0.

        Returns:
            `num_rows` rows, in random order so that every replica gets a share of each stream.
        """
        rng = np.random.default_rng([self._seed, 1, step])
        sizes = self._sizes
        records: list[np.ndarray] = []
        groups: list[np.ndarray] = []
        classified: list[np.ndarray] = []

        def add(stream: np.ndarray, group: int, classify: bool) -> None:
            records.append(stream)
            groups.append(np.full(len(stream), group))
            classified.append(np.full(len(stream), classify))

        if sizes.shuffled:
            add(self._shuffled(step), NO_GROUP, True)
        for group in self.groups:
            members = self._members[group]
            paired = np.empty(0, np.int64)
            if sizes.pairs_per_group:
                own, other = self._pair_identities[group]
                chosen = _choose(rng, len(own), sizes.pairs_per_group)
                paired = own[chosen]
                uniform = rng.random((2, sizes.pairs_per_group))
                if self._crosses(group):
                    first = members.draw(paired, uniform[0])
                    second = self._members[0].draw(other[chosen], uniform[1])
                    pairs = np.stack([first, second])
                else:
                    pairs = members.draw_two(paired, uniform)
                add(pairs.ravel(), group, sizes.classify_pairs)
            if sizes.per_group:
                position = _choose_others(rng, len(members.identities), sizes.per_group, paired)
                add(members.draw(position, rng.random(sizes.per_group)), group, True)

        order = rng.permutation(self.num_rows)
        record = np.concatenate(records)[order]
        identity = self._identity[record]
        label = np.where(np.concatenate(classified)[order], identity, NO_LABEL)
        return Rows(record, identity, np.concatenate(groups)[order].astype(np.int64), label)


def _choose(rng: np.random.Generator, population: int, size: int) -> np.ndarray:
    """`size` of `population`, different ones as far as they last; the cost does not grow with the population."""
    whole, rest = divmod(size, population)
    chosen = [rng.permutation(population) for _ in range(whole)]
    return np.concatenate([*chosen, rng.choice(population, rest, replace=False)])


def _choose_others(rng: np.random.Generator, population: int, size: int, taken: np.ndarray) -> np.ndarray:
    """As `_choose`, but none of `taken` as long as there are others.

    A group's rows then never hold one image twice, which would be a positive pair of similarity 1.
    """
    candidates = _choose(rng, population, size + len(taken))
    return np.concatenate([candidates[~np.isin(candidates, taken)], candidates])[:size]
