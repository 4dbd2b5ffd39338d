"""The vectors that stand for people in an index: a template of each, or all of their images."""

import sqlite3
from collections.abc import Iterator

import numpy as np

from ddl_tf.common.errors import InputError

ENTRIES = ("templates", "images")
# Embeddings in memory at a time, beside the vectors.
_ROWS = 20_000


def entry_vectors(persons: np.ndarray, embeddings: np.ndarray, entries: str) -> tuple[np.ndarray, np.ndarray]:
    """Make the vectors of some people: `[vectors]` int64 the person of each, and `[vectors, dim]` float32.

    A template is the mean of the unit embeddings of all images of a person, scaled to unit norm. `persons` is
    `[images]`, rising, with all images of each person; `embeddings` is `[images, dim]` of unit norm.
    """
    if entries == "images" or not len(persons):
        return np.asarray(persons, np.int64), np.asarray(embeddings, np.float32)
    first = np.flatnonzero(np.r_[True, persons[1:] != persons[:-1]])
    sums = np.add.reduceat(embeddings, first, axis=0, dtype=np.float64)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(persons[first], np.int64), (sums / np.where(norms > 0, norms, 1)).astype(np.float32)


def read_entries(
    connection: sqlite3.Connection, dim: int, entries: str, since: int
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `entry_vectors` of the people who changed after the generation `since`, some people at a time."""
    rows = connection.execute(
        "SELECT i.person, i.embedding FROM person p JOIN image i ON i.person = p.id WHERE p.generation > ? "
        "ORDER BY i.person, i.id"
        if since
        else "SELECT person, embedding FROM image ORDER BY person, id",
        (since,) if since else (),
    )
    persons, embeddings = np.empty(0, np.int64), np.empty([0, dim], np.float32)
    while chunk := rows.fetchmany(_ROWS):
        blobs = b"".join(blob for _, blob in chunk)
        if len(blobs) != len(chunk) * dim * 4:
            raise InputError("the gallery is damaged (an embedding has another length); restore it from a copy")
        persons = np.concatenate([persons, np.array([person for person, _ in chunk], np.int64)])
        embeddings = np.concatenate([embeddings, np.frombuffer(blobs, "<f4").reshape(-1, dim)])
        # The last person may go on in the next rows.
        whole = int(np.searchsorted(persons, persons[-1]))
        if whole:
            yield entry_vectors(persons[:whole], embeddings[:whole], entries)
            persons, embeddings = persons[whole:], embeddings[whole:]
    if len(persons):
        yield entry_vectors(persons, embeddings, entries)
