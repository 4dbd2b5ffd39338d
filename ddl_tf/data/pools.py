"""What the rows of a group are drawn from: its images by identity, and its positive pairs."""

import dataclasses
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

    def draw_two(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """Two different records of each identity: `[n]`, and uniform `[2, n]` -> `[2, n]` records."""
        count = self.counts[position]
        first = (uniform[0] * count).astype(np.int64)
        second = (first + 1 + (uniform[1] * (count - 1)).astype(np.int64)) % count
        return self.records[self.starts[position] + np.stack([first, second])]


class PairsWithin:
    """Pairs of two images of a group, drawn at random; `identities` `[n]` (ascending) have a pair, as in all pools."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._positions = np.flatnonzero(members.counts >= 2)
        self.identities = members.identities[self._positions]

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """A pair of each identity: `[n]` positions in `identities`, uniform `[2, n]` -> `[2, n]` records."""
        return self._members.draw_two(self._positions[position], uniform)


class PairsAcross:
    """Pairs of an image of a group and one of the teacher's, drawn at random."""

    def __init__(self, members: Members, teacher: Members) -> None:
        self._members, self._teacher = members, teacher
        self.identities, self._own, self._others = np.intersect1d(
            members.identities, teacher.identities, assume_unique=True, return_indices=True
        )

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """As `PairsWithin.draw`; the image of the group comes first."""
        first = self._members.draw(self._own[position], uniform[0])
        return np.stack([first, self._teacher.draw(self._others[position], uniform[1])])


class PairsStored:
    """Pairs that were arranged beforehand; an identity is drawn first, then one of its pairs."""

    def __init__(self, pairs: StoredPairs, number: int, identity: np.ndarray) -> None:
        chosen = np.flatnonzero(pairs.group == number)
        own = identity[pairs.first[chosen]]
        order = np.argsort(own, kind="stable")
        self._records = np.stack([pairs.first[chosen[order]], pairs.second[chosen[order]]])
        self.identities, self._starts, self._counts = np.unique(own[order], return_index=True, return_counts=True)

    def draw(self, position: np.ndarray, uniform: np.ndarray) -> np.ndarray:
        """As `PairsWithin.draw`."""
        return self._records[:, self._starts[position] + (uniform[0] * self._counts[position]).astype(np.int64)]


Pairs = Union[PairsWithin, PairsAcross, PairsStored]


@dataclasses.dataclass(frozen=True)
class PairChoice:
    """Whether random pairs go across to the teacher's images, and whether all groups share the identities of pairs."""

    across: bool = False
    shared_identities: bool = False


class GroupPools:
    """The images (`members`) and, with a `PairChoice`, the positive pairs (`pairs`) of all groups 0..K.

    `stored` pairs are drawn instead of random ones. A made student is one more group, of the teacher's images.
    `shared_identities` `[n]` (ascending) have a pair in every group.

    Raises:
        InputError: if the groups are not 0 to K, or a group has no pair.
    """

    def __init__(
        self,
        identity: np.ndarray,
        group: np.ndarray,
        pairs: Optional[PairChoice] = None,
        stored: Optional[StoredPairs] = None,
        made_student: bool = False,
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
        if made_student:
            self.groups.append(len(self.groups))
            self.members.append(self.members[0])
        self.pairs: list[Pairs] = []
        self.shared_identities = np.empty(0, np.int64)
        if pairs:
            self.pairs = [self._pool(number, identity, pairs, stored) for number in self.groups]
            self.shared_identities = self.pairs[0].identities
            for pool in self.pairs[1:]:
                self.shared_identities = np.intersect1d(self.shared_identities, pool.identities, assume_unique=True)
            self._check_pairs(stored is not None, pairs)

    def _pool(self, number: int, identity: np.ndarray, choice: PairChoice, stored: Optional[StoredPairs]) -> Pairs:
        # The pairs of a student that is made of the teacher's images are the teacher's.
        of_teacher = self.members[number] is self.members[0]
        if stored is not None:
            return PairsStored(stored, 0 if of_teacher else number, identity)
        if choice.across and not of_teacher:
            return PairsAcross(self.members[number], self.members[0])
        return PairsWithin(self.members[number])

    def _check_pairs(self, stored: bool, choice: PairChoice) -> None:
        for number, pool in enumerate(self.pairs):
            if len(pool.identities):
                continue
            if stored:
                raise InputError(
                    f"group {number} has no stored positive pair: run `python -m ddl_tf.mine pairs` again, after the "
                    "groups were made"
                )
            wanted = "images in it and in group 0" if choice.across and number else "two images in it"
            raise InputError(f"group {number} has no positive pair: none of its identities has {wanted}")
        if choice.shared_identities and not len(self.shared_identities):
            raise InputError(
                "no identity has positive pairs in every group, which shared identities need: draw the pairs of each "
                "group for itself"
            )
