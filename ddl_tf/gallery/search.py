"""The most similar people of a gallery, whose vectors may be several of each, and some that are out of use."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Optional

import numpy as np

from ddl_tf.gallery.index import VectorIndex

# Queries at a time, and by how much more is looked for where too few people were found.
_QUERIES, _DEEPER = 1024, 4
UNUSED = -1


@dataclasses.dataclass(frozen=True)
class Found:
    """The result of a search.

    Attributes:
        people: `[queries, k]` text, the most similar person first; None where an approximate search found no more.
        similarity: `[queries, k]` float32, cosine, -1..1; -inf where there is no person.
        known: `[queries, k]` bool, whether the similarity is at least the threshold; None if no threshold was chosen.
    """

    people: np.ndarray
    similarity: np.ndarray
    known: Optional[np.ndarray]


@dataclasses.dataclass(frozen=True)
class Part:
    """Some vectors, and `[vectors]` int64 the person of each (`UNUSED`: out of use); nothing in it changes any more."""

    index: VectorIndex
    person: np.ndarray


@dataclasses.dataclass(frozen=True)
class Snapshot:
    """What is searched of one state of a gallery; any number of threads may do it at once.

    Nearly all vectors are in the first part, those of the last changes in the second; `names` are by number.
    """

    generation: int
    stamp: int
    entries: str
    parts: tuple[Part, Part]
    names: Mapping[int, str]

    @functools.cached_property
    def vectors_of_people(self) -> np.ndarray:
        """`[people]`: how many vectors each has, most first."""
        person = np.concatenate([part.person for part in self.parts])
        return np.sort(np.unique(person[person != UNUSED], return_counts=True)[1])[::-1]

    def nearest(self, queries: np.ndarray, depth: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the `depth` most similar vectors of each query: their persons and similarities `[n, depth]`."""
        persons, similarities = [], []
        for part in self.parts:
            if len(part.index):
                values, rows = part.index.search(queries, min(depth, len(part.index)))
                persons.append(np.where(rows >= 0, part.person[rows], UNUSED))
                similarities.append(values)
        person, similarity = np.concatenate(persons, axis=1), np.concatenate(similarities, axis=1)
        order = np.argsort(-similarity, axis=1, kind="stable")[:, :depth]
        return np.take_along_axis(person, order, axis=1), np.take_along_axis(similarity, order, axis=1)


def search_people(snapshot: Snapshot, queries: np.ndarray, k: int, threshold: Optional[float]) -> Found:
    """Search the people most similar to `queries` `[n, dim]` float32 of unit norm: `min(k, people)` columns."""
    vectors = snapshot.vectors_of_people
    k = min(k, len(vectors))
    # Where an exact search certainly has k people.
    unused = sum(int(np.sum(part.person == UNUSED)) for part in snapshot.parts)
    enough = int(unused + vectors[: max(k - 1, 0)].sum() + 1)
    numbers = np.full([len(queries), k], UNUSED)
    similarity = np.full([len(queries), k], -np.inf, np.float32)
    for start in range(0, len(queries) if k else 0, _QUERIES):
        rows = slice(start, start + _QUERIES)
        _search(snapshot, queries[rows], enough, numbers[rows], similarity[rows])
    people = np.empty(numbers.shape, object)
    people.ravel()[:] = [snapshot.names.get(person) for person in numbers.ravel().tolist()]
    return Found(people, similarity, None if threshold is None else similarity >= threshold)


def _search(snapshot: Snapshot, queries: np.ndarray, enough: int, numbers: np.ndarray, similarity: np.ndarray) -> None:
    """Fill in people and similarities of some queries."""
    k = numbers.shape[1]
    depth = min(k, enough)
    waiting = np.arange(len(queries))
    while len(waiting):
        persons, values = snapshot.nearest(queries[waiting], depth)
        short = []
        for query, person, value in zip(waiting, persons, values):
            in_use = np.flatnonzero(person != UNUSED)
            _, first = np.unique(person[in_use], return_index=True)
            places = in_use[np.sort(first)][:k]
            numbers[query, : len(places)] = person[places]
            similarity[query, : len(places)] = value[places]
            if len(places) < k:
                short.append(query)
        if depth >= enough:
            return
        waiting, depth = np.array(short, np.int64), min(depth * _DEEPER, enough)


def strangers_known(far: float, people: int, images: int, entries: str) -> tuple[float, str]:
    """Return the share of strangers that is taken for someone, and in words what it is.

    The sum of the rates of pairs of images is a bound, however dependent they are. A template of several images has
    similarities that nobody measured: the sum over people is an estimate.
    """
    if entries == "images" or people == images:
        return min(1.0, far * images), f"at most, by {images:,} images like those of that set"
    return min(1.0, far * people), "by estimate, if templates are as similar as images"
