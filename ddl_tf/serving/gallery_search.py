"""The most similar people of a gallery, whose index may hold several vectors of each, and some that are out of use."""

import dataclasses
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.serving.vector_index import VectorIndex

# Queries at a time, and by how much more is looked for where too few people were found.
_QUERIES, _DEEPER = 1024, 4


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found.

    Attributes:
        people: `[queries, k]` text, the most similar person first; None where an approximate search found no more.
        similarity: `[queries, k]` float32, cosine, -1..1; -inf where there is no person.
        known: `[queries, k]` bool, whether the similarity is at least the threshold; None if no threshold was chosen.
    """

    people: np.ndarray
    similarity: np.ndarray
    known: Optional[np.ndarray]


def search_people(
    index: VectorIndex, images: pd.DataFrame, queries: np.ndarray, k: int, threshold: Optional[float]
) -> Found:
    """Search the people of a gallery; of several vectors of one person the most similar one counts.

    Args:
        index: the vectors.
        images: `person`, and `entry`, the number of the vector that stands for the image.
        queries: `[n, dim]` float32 of unit norm.
        k: people to find for each, at least 1.
        threshold: from which similarity on a person is known.

    Returns:
        People and similarities; `min(k, people)` of each.
    """
    names_of_images, names = pd.factorize(images["person"])
    person = np.full(len(index), -1)
    person[images["entry"].to_numpy()] = names_of_images
    vectors = np.sort(np.bincount(person[person >= 0], minlength=len(names)))[::-1]
    k = min(k, len(names))
    # Where an exact search has certainly found k people.
    enough = int(np.sum(person < 0) + vectors[: max(k - 1, 0)].sum() + 1)
    found = np.full([len(queries), k], -1)
    similarity = np.full([len(queries), k], -np.inf, np.float32)
    for start in range(0, len(queries) if k else 0, _QUERIES):
        part = slice(start, start + _QUERIES)
        _search(index, person, queries[part], enough, found[part], similarity[part])
    people = np.array([*names, None], object)[found]
    return Found(people, similarity, None if threshold is None else similarity >= threshold)


def _search(
    index: VectorIndex, person: np.ndarray, queries: np.ndarray, enough: int, found: np.ndarray, similarity: np.ndarray
) -> None:
    """Fill in people and similarities of some queries."""
    k = found.shape[1]
    depth = min(k, enough)
    waiting = np.arange(len(queries))
    while len(waiting):
        values, rows = index.search(queries[waiting], depth)
        codes = np.where(rows >= 0, person[rows], -1)
        short = []
        for query, code, value in zip(waiting, codes, values):
            here = np.flatnonzero(code >= 0)
            _, first = np.unique(code[here], return_index=True)
            places = here[np.sort(first)][:k]
            found[query, : len(places)] = code[places]
            similarity[query, : len(places)] = value[places]
            if len(places) < k:
                short.append(query)
        if depth >= enough:
            return
        waiting, depth = np.array(short, np.int64), min(depth * _DEEPER, enough)
