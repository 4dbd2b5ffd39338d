"""Which rows make a training batch: the paper's streams, as a function of the step.

A sampler has no state: the rows of step k follow from the seed, k, and what training has mined by then. A resumed run
therefore draws what an undisturbed one would have drawn, and steps can be prepared in parallel.
"""

import threading
from collections.abc import Callable
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.data.pools import NO_GROUP, GroupPools, StoredPairs, StreamSizes

NO_LABEL = -1
_NONE = np.empty(0, np.int64)


class Rows(NamedTuple):
    """The rows of one batch, each `[rows]` int64."""

    # Rows of the index of the stored faces.
    record: np.ndarray
    identity: np.ndarray
    # The sample set that the row was drawn for; -1 takes no part in the distillation.
    group: np.ndarray
    # The identity where the row is classified, -1 where not.
    label: np.ndarray


class Mined(NamedTuple):
    """Groups `[images]` and pairs (None: random ones) that training mined; another `number` is another content."""

    number: int
    group: np.ndarray
    pairs: Optional[StoredPairs]


class StreamSampler:
    """Draws the rows of every step from the index of stored faces.

    Args:
        index: one row for each image, with the columns `identity` and `group`.
        sizes: how many rows of each stream a batch holds.
        seed: of all draws.
        pairs: positive pairs to draw instead of random ones.
        neighbours: step -> `[num_identities, k]` int, the identities most easily confused with each, for
            `sizes.confusable`; it may wait for training to find them.
        mined: step -> the groups and pairs to draw from, None for those of the index; it may wait for training.

    Raises:
        InputError: if a stream has no images to draw from.

    Example:
        >>> index = pd.DataFrame({"identity": [0, 0, 1, 1], "group": [0, 0, 0, 0]})
        >>> StreamSampler(index, StreamSizes(pairs_per_group=1), seed=0).rows(step=0).identity.shape
        (2,)
    """

    def __init__(
        self,
        index: pd.DataFrame,
        sizes: StreamSizes,
        seed: int = 0,
        pairs: Optional[StoredPairs] = None,
        neighbours: Optional[Callable[[int], np.ndarray]] = None,
        mined: Optional[Callable[[int], Optional[Mined]]] = None,
    ) -> None:
        if not len(index):
            raise InputError("the training set has no images")
        self._identity = index["identity"].to_numpy(np.int64)
        self._sizes, self._seed, self._mined = sizes, seed, mined
        self._neighbours = neighbours if sizes.confusable > 1 else None
        self._epoch_order: tuple[int, np.ndarray] = (-1, _NONE)
        self._lock = threading.Lock()
        self.groups: list[int] = []
        if sizes.per_group or sizes.pairs_per_group:
            self._first_pools = self.make_pools(index["group"].to_numpy(), pairs)
            self._mined_pools: dict[int, GroupPools] = {}
            self.groups = self._first_pools.groups

    def make_pools(self, group: np.ndarray, pairs: Optional[StoredPairs]) -> GroupPools:
        """Make what the groups' rows are drawn from, for the `[images]` groups and the pairs."""
        pools = GroupPools(self._identity, group, self._sizes, pairs)
        if self.groups and pools.groups != self.groups:
            raise InputError(f"there are now {len(pools.groups)} groups, but a batch has rows of {len(self.groups)}")
        return pools

    def _pools(self, step: int) -> GroupPools:
        mined = self._mined(step) if self._mined else None
        if mined is None:
            return self._first_pools
        # Two threads prepare steps, perhaps of two minings at a time.
        with self._lock:
            if mined.number not in self._mined_pools:
                last = {number: pools for number, pools in self._mined_pools.items() if number == mined.number - 1}
                self._mined_pools = {**last, mined.number: self.make_pools(mined.group, mined.pairs)}
            return self._mined_pools[mined.number]

    @property
    def num_rows(self) -> int:
        """How many rows a batch has."""
        sizes = self._sizes
        return sizes.shuffled + len(self.groups) * (sizes.per_group + 2 * sizes.pairs_per_group)

    @property
    def steps_per_epoch(self) -> int:
        """Steps that draw as many classified rows as there are images; shuffled rows hold each image once."""
        sizes = self._sizes
        if sizes.shuffled:
            return -(-len(self._identity) // sizes.shuffled)
        images = sum(len(members.records) for members in self._first_pools.members)
        return -(-images // (len(self.groups) * (sizes.per_group or 2 * sizes.pairs_per_group)))

    def _shuffled(self, step: int) -> np.ndarray:
        """The records at the positions of this step in an endless sequence of shuffled epochs."""
        size, total = self._sizes.shuffled, len(self._identity)
        positions = np.arange(step * size, (step + 1) * size)
        records = np.empty(size, np.int64)
        for epoch in range(positions[0] // total, positions[-1] // total + 1):
            cached_epoch, order = self._epoch_order
            if cached_epoch != epoch:
                order = np.random.default_rng([self._seed, 0, epoch]).permutation(total)
                # One assignment of both, for threads that draw steps of two epochs at a time.
                self._epoch_order = (epoch, order)
            here = positions // total == epoch
            records[here] = order[positions[here] % total]
        return records

    def rows(self, step: int) -> Rows:
        """Draw the `num_rows` rows of a step, in random order, so that every replica gets a share of each stream."""
        rng = np.random.default_rng([self._seed, 1, step])
        sizes = self._sizes
        neighbours = self._neighbours(step) if self._neighbours else None
        pools = self._pools(step) if self.groups else None
        # Records, group, and whether they are classified.
        streams: list[tuple[np.ndarray, int, bool]] = []

        def draw(identities: np.ndarray, size: int, taken: np.ndarray = _NONE) -> np.ndarray:
            return choose_confusable(rng, identities, size, neighbours, sizes.confusable, taken)

        if sizes.shuffled:
            streams.append((self._shuffled(step), NO_GROUP, True))
        count, shared = sizes.pairs_per_group, None
        if pools and count and sizes.shared_identities:
            shared = pools.shared_identities[draw(pools.shared_identities, count)]
        for group in self.groups:
            assert pools is not None
            members = pools.members[group]
            taken = _NONE
            if count:
                pool = pools.pairs[group]
                chosen = draw(pool.identities, count) if shared is None else np.searchsorted(pool.identities, shared)
                taken = np.searchsorted(members.identities, pool.identities[chosen])
                pairs = pool.draw(chosen, rng.random((2, count)))
                streams.append((pairs.ravel(), group, sizes.classify_pairs))
            if sizes.per_group:
                position = draw(members.identities, sizes.per_group, taken)
                streams.append((members.draw(position, rng.random(sizes.per_group)), group, True))

        order = rng.permutation(self.num_rows)
        records, groups, classified = zip(*streams)
        lengths = [len(stream) for stream in records]
        record = np.concatenate(records)[order]
        identity = self._identity[record]
        label = np.where(np.repeat(classified, lengths)[order], identity, NO_LABEL)
        return Rows(record, identity, np.repeat(groups, lengths)[order].astype(np.int64), label)


def choose_confusable(
    rng: np.random.Generator,
    identities: np.ndarray,
    size: int,
    neighbours: Optional[np.ndarray],
    cluster: int,
    taken: np.ndarray,
) -> np.ndarray:
    """Choose `[size]` positions in `identities` (ascending) in clusters: one at random, and those nearest to it.

    `neighbours` is `[num_identities, k]`, the nearest first; None: all at random. Positions are different ones as far
    as they last, and `taken` ones come last: no image is in a group twice.
    """
    # The cost follows from the size, not from the number of identities.
    whole, rest = divmod(size + len(taken), len(identities))
    shuffled = [rng.permutation(len(identities)) for _ in range(whole)]
    candidates = np.concatenate([*shuffled, rng.choice(len(identities), rest, replace=False)])
    order = np.concatenate([candidates[~np.isin(candidates, taken)], candidates])[:size]
    if neighbours is None or len(identities) < size + len(taken):
        # Where all of them are needed, there is nothing to choose.
        return order
    chosen: dict[int, None] = {}
    used = set(taken.tolist())
    for first in order.tolist():
        if len(chosen) >= size:
            break
        if first in chosen:
            continue
        chosen[first] = None
        near = neighbours[identities[first]]
        position = np.minimum(np.searchsorted(identities, near), len(identities) - 1)
        position = position[identities[position] == near]
        free = [p for p in position.tolist() if p not in chosen and p not in used]
        chosen.update(dict.fromkeys(free[: min(cluster - 1, size - len(chosen))]))
    return np.fromiter(chosen, np.int64, len(chosen))
