"""What the rows of a group are drawn from: its images by identity, and its positive pairs."""

import dataclasses
import functools
from typing import NamedTuple, Optional, Union

import numpy as np

from ddl_tf.common.errors import InputError

NO_GROUP = -1


class StoredPairs(NamedTuple):
    """Positive pairs that were arranged beforehand.

    Attributes:
        group: `[pairs]` int, the group that each pair is for.
        first: `[pairs]` int64, rows of the index; images of `group`.
        second: `[pairs]` int64, images of the same identity, of `group` or of the teacher's group 0.
    """

    group: np.ndarray
    first: np.ndarray
    second: np.ndarray


@dataclasses.dataclass(frozen=True)
class StreamSizes:
    """How many rows of each stream a batch holds, and which.

    The paper's batch is `per_group=32, pairs_per_group=32` with groups 0 and 1: 64 classified rows and 64 pairs.

    Attributes:
        shuffled: classified rows from all images alike, each image once an epoch; they take no part in the
            distillation.
        per_group: classified rows of each group: every identity equally often, no two of one identity, and none of the
            group's pairs; their negatives are mined in the batch.
        pairs_per_group: positive pairs (two rows each) of each group.
        pairs_across: whether a student's pair is one image of its group and one of the teacher's, not two of its group.
        classify_pairs: whether the rows of the pairs are classified too (in the paper they are not).
        confusable: identities of each group come in clusters of this many that are easily confused, if the sampler has
            neighbours; 1 draws them independently.
        shared_identities: whether the pairs of all groups are of the same identities, which RKD and SP compare.
        made_student: whether there is one more student, whose rows are images of the teacher's group that the
            augmentation makes hard.
    """

    shuffled: int = 0
    per_group: int = 0
    pairs_per_group: int = 0
    pairs_across: bool = False
    classify_pairs: bool = False
    confusable: int = 1
    shared_identities: bool = False
    made_student: bool = False

    def __post_init__(self) -> None:
        for name in ("shuffled", "per_group", "pairs_per_group"):
            if getattr(self, name) < 0:
                raise InputError(f"{name} must not be negative, got {getattr(self, name)}")
        if self.confusable < 1:
            raise InputError(f"confusable must be at least 1 (identities drawn independently), got {self.confusable}")
        if not (self.shuffled or self.per_group or self.pairs_per_group):
            raise InputError("a batch must have rows: set shuffled, per_group or pairs_per_group above 0")


class Members:
    """The images (`records`) of one group by identity: `identities` (ascending), `starts` and `counts` are `[n]`."""

    def __init__(self, identity: np.ndarray, group: np.ndarray, number: int) -> None:
        records = np.flatnonzero(group == number)
        identity = identity[records]
        order = np.argsort(identity, kind="stable")
        self.records = records[order]
        self.identities, self.starts, self.counts = np.unique(identity[order], return_index=True, return_counts=True)

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """One record of each identity: `[n]` positions in `identities` -> `[n]` records."""
        return self.records[self.starts[position] + (uniform * self.counts[position]).astype(np.int64)]


class _PairsWithin:
    """Pairs of two images of a group, drawn at random; `identities` `[n]` (ascending) have a pair, as in all pools."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._positions = np.flatnonzero(members.counts >= 2)
        self.identities = members.identities[self._positions]

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """A pair of each identity: `[n]` positions in `identities`, uniform `[2, n]` -> `[2, n]` records."""
        members, position = self._members, self._positions[position]
        count = members.counts[position]
        first = (uniform[0] * count).astype(np.int64)
        second = (first + 1 + (uniform[1] * (count - 1)).astype(np.int64)) % count
        return members.records[members.starts[position] + np.stack([first, second])]


class _PairsAcross:
    """Pairs of an image of a group and, second, one of the teacher's, drawn at random."""

    def __init__(self, members: Members, teacher: Members) -> None:
        self._members, self._teacher = members, teacher
        self.identities, self._positions, self._teacher_positions = np.intersect1d(
            members.identities, teacher.identities, assume_unique=True, return_indices=True
        )

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        first = self._members.draw(self._positions[position], uniform[0])
        return np.stack([first, self._teacher.draw(self._teacher_positions[position], uniform[1])])


class _PairsStored:
    """Pairs that were arranged beforehand; an identity is drawn first, then one of its pairs."""

    def __init__(self, pairs: StoredPairs, number: int, identity: np.ndarray) -> None:
        self._pairs, self._members = pairs, Members(identity[pairs.first], pairs.group, number)
        self.identities = self._members.identities

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        chosen = self._members.draw(position, uniform[0])
        return np.stack([self._pairs.first[chosen], self._pairs.second[chosen]])


_Pairs = Union[_PairsWithin, _PairsAcross, _PairsStored]


class GroupPools:
    """The images (`members`) and, if a batch has pairs, the positive pairs (`pairs`) of all groups 0..K.

    A made student is one more group, of the teacher's images; `shared_identities` `[n]` have a pair in every group.
    """

    def __init__(
        self, identity: np.ndarray, group: np.ndarray, sizes: StreamSizes, stored: Optional[StoredPairs] = None
    ) -> None:
        present = np.unique(group)
        self.groups = present[present > NO_GROUP].tolist()
        if not self.groups or self.groups != list(range(len(self.groups))):
            raise InputError(
                f"the training set has the groups {self.groups}: rows per group and pairs need group 0 (teacher, "
                "easy) and the groups 1..K (students, hard) after it; make groups with `python -m ddl_tf.mine`, or "
                "draw shuffled rows only"
            )
        self.members = [Members(identity, group, number) for number in self.groups]
        if sizes.made_student:
            self.groups.append(len(self.groups))
            self.members.append(self.members[0])
        self.pairs: list[_Pairs] = []
        self.shared_identities = np.empty(0, np.int64)
        if sizes.pairs_per_group:
            self.pairs = [self._pool(number, identity, sizes, stored) for number in self.groups]
            self.shared_identities = functools.reduce(np.intersect1d, [pool.identities for pool in self.pairs])
        for number, pool in enumerate(self.pairs):
            if len(pool.identities):
                continue
            wanted = "images in it and in group 0" if sizes.pairs_across and number else "two images in it"
            if stored is not None:
                why = "no stored positive pair: run `python -m ddl_tf.mine pairs` again, after the groups were made"
            else:
                remedy = "loosen the rule of the group, or see --pairs_across"
                why = f"no positive pair: none of its identities has {wanted}; {remedy}"
            raise InputError(f"group {number} has {why}")
        if sizes.pairs_per_group and sizes.shared_identities and not len(self.shared_identities):
            raise InputError(
                "no identity has positive pairs in every group, which shared identities need: draw the pairs of each "
                "group for itself"
            )

    def _pool(self, number: int, identity: np.ndarray, sizes: StreamSizes, stored: Optional[StoredPairs]) -> _Pairs:
        # The pairs of a student that is made of the teacher's images are the teacher's.
        of_teacher = self.members[number] is self.members[0]
        if stored is not None:
            return _PairsStored(stored, 0 if of_teacher else number, identity)
        if sizes.pairs_across and not of_teacher:
            return _PairsAcross(self.members[number], self.members[0])
        return _PairsWithin(self.members[number])
