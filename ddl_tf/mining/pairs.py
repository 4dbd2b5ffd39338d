"""Positive pairs, arranged before training as in the paper: within the hard images, or hard and easy."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.progress import Progress
from ddl_tf.data.layout import read_table
from ddl_tf.data.pools import Members, StoredPairs
from ddl_tf.data.store import Faces
from ddl_tf.runtimes.views import unit

POSITIVE_PAIRS, DROPPED_PAIRS = "positive_pairs.parquet", "dropped_pairs.csv"
CHOICES = ("hardest", "random", "semi_hard")


@dataclasses.dataclass(frozen=True)
class PairRules:
    """Which positive pairs to keep of each identity.

    Attributes:
        across: whether a student's pair is one image of its group and one of group 0, or two of its group. The
            teacher's pairs are always within group 0.
        choice: "hardest": the least similar pairs; "random"; "semi_hard": the least similar of those that are more
            similar than either image is to the nearest other identity.
        per_identity: how many of each identity and group.
        threshold: a pair with a similarity at or below it is an outlier, and dropped.
        most_images: of an identity with more images in a group, this many are drawn at random to be paired.
    """

    across: bool = False
    choice: str = "hardest"
    per_identity: int = 10
    threshold: float = 0.0
    most_images: int = 200

    def __post_init__(self) -> None:
        if self.choice not in CHOICES:
            raise InputError(f"choice must be one of {', '.join(CHOICES)}, got {self.choice!r}")
        for name, least in (("per_identity", 1), ("most_images", 2)):
            if getattr(self, name) < least:
                raise InputError(f"{name} must be at least {least}, got {getattr(self, name)}")
        if not -1 <= self.threshold < 1:
            raise InputError(f"the threshold is a cosine similarity, in [-1, 1), got {self.threshold}")


class MinedPairs(NamedTuple):
    """The pairs that were kept, the outliers, and for each group how many of its identities could have and kept none.

    A pair has the columns `group`, `identity`, `first`, `second` (positions in the index) and `similarity`.
    """

    kept: pd.DataFrame
    dropped: pd.DataFrame
    without: dict[int, int]


_PAIR_TYPES = {"group": np.int16, "identity": np.int64, "first": np.int64, "second": np.int64, "similarity": np.float32}


class _Table:
    """Pairs, collected as arrays."""

    def __init__(self) -> None:
        self._parts: list[tuple[np.ndarray, ...]] = [tuple(np.empty(0, kind) for kind in _PAIR_TYPES.values())]

    def add(self, group: int, identity: int, first: np.ndarray, second: np.ndarray, similarity: np.ndarray) -> None:
        if len(first):
            self._parts.append((np.full(len(first), group), np.full(len(first), identity), first, second, similarity))

    def frame(self) -> pd.DataFrame:
        columns = zip(_PAIR_TYPES.items(), zip(*self._parts))
        return pd.DataFrame({name: np.concatenate(parts).astype(kind) for (name, kind), parts in columns})


def mine_pairs(
    embeddings: Callable[[np.ndarray], np.ndarray],
    identity: np.ndarray,
    group: np.ndarray,
    rules: PairRules,
    other_similarity: Optional[np.ndarray] = None,
    seed: int = 0,
) -> MinedPairs:
    """Arrange the positive pairs of every group, identity by identity.

    Args:
        embeddings: positions `[n]` -> embeddings `[n, dim]` of these images.
        identity: `[images]` int64.
        group: `[images]` int.
        rules: which pairs to keep.
        other_similarity: `[images]`, of each image to the nearest other identity; for the choice "semi_hard".
        seed: of what is random.

    Raises:
        InputError: if "semi_hard" lacks `other_similarity`.

    Example:
        >>> faces = np.array([[1.0, 0.0], [0.8, 0.6], [0.6, 0.8]])
        >>> mine_pairs(lambda rows: faces[rows], np.zeros(3, int), np.zeros(3, int), PairRules(per_identity=1)).kept
           group  identity  first  second  similarity
        0      0         0      0       2         0.6
    """
    if rules.choice == "semi_hard" and other_similarity is None:
        raise InputError(
            "semi_hard pairs need the similarity of each image to the nearest other identity, the column "
            "other_similarity: run `python -m ddl_tf.mine model` first"
        )
    kept, dropped, without = _Table(), _Table(), {}
    teacher = Members(identity, group, 0)
    for number in range(int(group.max(initial=-1)) + 1):
        members = Members(identity, group, number) if number else teacher
        lonely = 0
        with Progress(f"pairs of group {number}", len(members.identities), unit="identity") as progress:
            for person, first, second, rng in _candidates(members, teacher, number, rules, seed):
                progress.advance()
                if not len(first):
                    continue
                rows, position = np.unique(np.concatenate([first, second]), return_inverse=True)
                vectors = unit(embeddings(rows).astype(np.float32))
                first_vectors, second_vectors = vectors[position[: len(first)]], vectors[position[len(first) :]]
                similarity = np.einsum("ij,ij->i", first_vectors, second_vectors)
                outlier = similarity <= rules.threshold
                dropped.add(number, person, first[outlier], second[outlier], similarity[outlier])
                first, second, similarity = first[~outlier], second[~outlier], similarity[~outlier]
                able = np.arange(len(similarity))
                if rules.choice == "semi_hard" and other_similarity is not None:
                    able = np.flatnonzero(similarity > np.maximum(other_similarity[first], other_similarity[second]))
                chosen = able[np.argsort(similarity[able], kind="stable")[: rules.per_identity]]
                if rules.choice == "random":
                    chosen = np.sort(rng.choice(len(able), min(rules.per_identity, len(able)), replace=False))
                kept.add(number, person, first[chosen], second[chosen], similarity[chosen])
                lonely += not len(chosen)
        without[number] = lonely
    return MinedPairs(kept.frame(), dropped.frame(), without)


def _candidates(
    members: Members, teacher: Members, group: int, rules: PairRules, seed: int
) -> Iterator[tuple[int, np.ndarray, np.ndarray, np.random.Generator]]:
    """For each identity: its number, all its pairs as two arrays of positions, and its random numbers."""
    across = rules.across and group > 0
    for place, person in enumerate(members.identities.tolist()):
        rng = np.random.default_rng([seed, group, person])
        rows = _sample(members, place, rules.most_images, rng)
        if not across:
            first, second = np.triu_indices(len(rows), 1)
            yield person, rows[first], rows[second], rng
            continue
        place_of_teacher = int(np.searchsorted(teacher.identities, person))
        if place_of_teacher == len(teacher.identities) or teacher.identities[place_of_teacher] != person:
            yield person, rows[:0], rows[:0], rng
            continue
        easy = _sample(teacher, place_of_teacher, rules.most_images, rng)
        yield person, np.repeat(rows, len(easy)), np.tile(easy, len(rows)), rng


def _sample(members: Members, place: int, most: int, rng: np.random.Generator) -> np.ndarray:
    start, count = int(members.starts[place]), int(members.counts[place])
    rows = members.records[start : start + count]
    return rows if count <= most else np.sort(rng.choice(rows, most, replace=False))


def pairs_table(mined: MinedPairs) -> pd.DataFrame:
    """Count the pairs of each group, with quantiles of their similarity, and its identities with and without some."""
    rows = []
    for group, without in mined.without.items():
        kept = mined.kept[mined.kept["group"] == group]
        row = {"group": str(group), "pairs": len(kept), "identities": kept["identity"].nunique()}
        for share in (0.05, 0.5, 0.95):
            row[f"similarity {share:.0%}"] = float(kept["similarity"].quantile(share))
        row.update({"identities without": without, "outliers dropped": int((mined.dropped["group"] == group).sum())})
        rows.append(row)
    return pd.DataFrame(rows)


def write_pairs(faces: Faces, mined: MinedPairs) -> None:
    """Store pairs beside the sets that hold their images; `second` and `first` are then positions in that set."""
    for path, (start, end) in zip(map(Path, faces.paths), faces.spans):
        tables = []
        for table in (mined.kept, mined.dropped):
            pairs = table[(table["first"] >= start) & (table["first"] < end)].reset_index(drop=True)
            tables.append(pairs.assign(first=pairs["first"] - start, second=pairs["second"] - start))
        with write_aside(path / POSITIVE_PAIRS) as aside:
            tables[0].to_parquet(aside, index=False)
        keys = faces.index["identity_key"].iloc[tables[1]["first"].to_numpy() + start].astype(str).to_numpy()
        with write_aside(path / DROPPED_PAIRS) as aside:
            tables[1].assign(identity_key=keys).to_csv(aside, index=False)


def read_pairs(faces: Faces) -> StoredPairs:
    """Read the pairs that were stored beside sets, as positions in the index of all sets.

    Raises:
        InputError: if no set has pairs, a set with groups has none, or they do not fit its groups.
    """
    parts, missing = [], []
    group = faces.index["group"].to_numpy(np.int64)
    identity = faces.index["identity"].to_numpy(np.int64)
    for path, (start, end) in zip(map(Path, faces.paths), faces.spans):
        file = path / POSITIVE_PAIRS
        if not file.exists():
            if np.any(group[start:end] >= 0):
                missing.append(str(path))
            continue
        table = read_table(file)
        pairs = StoredPairs(*(table[name].to_numpy(np.int64) for name in ("group", "first", "second")))
        first, second = pairs.first + start, pairs.second + start
        fits = np.all((pairs.first < end - start) & (pairs.second < end - start))
        fits = fits and np.all(identity[first] == identity[second]) and np.all(group[first] == pairs.group)
        if not fits or not np.all((group[second] == pairs.group) | (group[second] == 0)):
            raise InputError(
                f"{file}: the pairs do not fit the groups of the set, which were made anew since; run "
                "`python -m ddl_tf.mine pairs` again"
            )
        parts.append(StoredPairs(pairs.group, first, second))
    if not parts:
        raise InputError(
            f"no positive pairs are stored in {', '.join(faces.paths)}: run `python -m ddl_tf.mine pairs` first, or "
            "draw pairs at random"
        )
    if missing:
        # Else their identities would never be in a pair, silently.
        raise InputError(
            f"{', '.join(missing)}: has groups, but no positive pairs as the other sets have; run "
            f"`python -m ddl_tf.mine pairs --data={','.join(faces.paths)}`"
        )
    return StoredPairs(*(np.concatenate(column) for column in zip(*parts)))
