"""The rows of a gallery: what its tables say, and the changes of people within a transaction."""

import io
import json
import secrets
from collections.abc import Iterator, Sequence
from sqlite3 import Connection
from typing import Any

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.provenance import utc_now
from ddl_tf.common.text import visible
from ddl_tf.gallery.store import FORMAT, ModelRecord

_COLUMNS = 'generation, model, entries, kind AS "index", threshold, people, images, created, changed'
# What an index holds of a person: a template, or all images.
ENTRIES = ("templates", "images")
# Embeddings in memory at a time, beside the vectors.
_CHUNK = 20_000


def insert_gallery(
    connection: Connection, model: ModelRecord, entries: str, index: str, threshold: Any, created: str
) -> None:
    """Describe a new gallery; `threshold` as for `Gallery.create`, `created` in ISO 8601."""
    reference = io.BytesIO()
    np.save(reference, model.reference, allow_pickle=False)
    chosen = json.dumps(threshold and dict(threshold), allow_nan=False)
    facts = json.dumps({name: getattr(model, name) for name in ("path", "sha256", "dim", "flip")})
    row = (facts, reference.getvalue(), entries, index, chosen, created, created)
    connection.execute("INSERT INTO gallery VALUES (1, ?, ?, ?, ?, ?, 0, 0, 1, ?, ?)", row)
    connection.execute("INSERT INTO change VALUES (1, ?)", (secrets.randbits(63),))


def _damage(connection: Connection, reason: str) -> InputError:
    _, _, file = connection.execute("PRAGMA database_list").fetchone()
    return InputError(f"{visible(file)}: the gallery is damaged ({reason}); restore it from a copy")


def read_gallery(connection: Connection) -> dict[str, Any]:
    """Read the description of a gallery: its row, and `format` and `stamp` (of the last change)."""
    cursor = connection.execute(f"SELECT {_COLUMNS} FROM gallery")
    row = cursor.fetchone()
    if row is None:
        raise _damage(connection, "it is not described")
    content = dict(zip((name for name, *_ in cursor.description), row))
    (stamp,) = connection.execute("SELECT stamp FROM change WHERE generation = ?", row[:1]).fetchone()
    parsed = {name: json.loads(content[name]) for name in ("model", "threshold")}
    return {**content, **parsed, "format": FORMAT, "stamp": stamp}


def read_model(connection: Connection) -> ModelRecord:
    """Read whose embeddings a gallery has."""
    model, reference = connection.execute("SELECT model, reference FROM gallery").fetchone()
    return ModelRecord(**json.loads(model), reference=np.load(io.BytesIO(reference), allow_pickle=False))


def mark_change(connection: Connection) -> int:
    """Begin the next generation, and return its number."""
    connection.execute("UPDATE gallery SET generation = generation + 1, changed = ?", (utc_now(),))
    (generation,) = connection.execute("SELECT generation FROM gallery").fetchone()
    connection.execute("INSERT INTO change VALUES (?, ?)", (generation, secrets.randbits(63)))
    return int(generation)


def update_gallery(connection: Connection, column: str, value: str) -> None:
    """Change the `threshold`, in JSON, or the `kind` of the index of a gallery; a generation more."""
    mark_change(connection)
    connection.execute(f"UPDATE gallery SET {column} = ?", (value,))


def numbers_of(connection: Connection, people: Sequence[str]) -> dict[str, int]:
    """Look people up: name -> number of those who are enrolled, in order."""
    query = "SELECT id FROM person WHERE name = ?"
    rows = {person: connection.execute(query, (person,)).fetchone() for person in dict.fromkeys(people)}
    return {person: int(row[0]) for person, row in rows.items() if row is not None}


def insert_images(
    connection: Connection, people: Sequence[str], sources: Sequence[str], times: Sequence[str], embeddings: np.ndarray
) -> None:
    """Add images `[n]` with `[n, dim]` float32 of unit norm, of people who are enrolled or not; a generation more."""
    generation = mark_change(connection)
    numbers = numbers_of(connection, people)
    changed, before = [(generation, number) for number in numbers.values()], len(numbers)
    connection.executemany("UPDATE person SET generation = ? WHERE id = ?", changed)
    for person in dict.fromkeys(person for person in people if person not in numbers):
        inserted = connection.execute("INSERT INTO person (name, generation) VALUES (?, ?)", (person, generation))
        numbers[person] = int(inserted.lastrowid or 0)
    rows = np.ascontiguousarray(embeddings, "<f4")
    images = zip((numbers[person] for person in people), sources, times, map(np.ndarray.tobytes, rows))
    connection.executemany("INSERT INTO image (person, source, time, embedding) VALUES (?, ?, ?, ?)", images)
    _count(connection, len(numbers) - before, len(rows))


def delete_images(connection: Connection, number: int) -> int:
    """Delete all images of a person, who stays, and return how many they were."""
    deleted = connection.execute("DELETE FROM image WHERE person = ?", (number,)).rowcount
    _count(connection, 0, -deleted)
    return deleted


def delete_people(connection: Connection, numbers: Sequence[int]) -> int:
    """Delete people, and return how many images they had; a generation more."""
    generation = mark_change(connection)
    images = sum(delete_images(connection, number) for number in numbers)
    for number in numbers:
        connection.execute("DELETE FROM person WHERE id = ?", (number,))
        connection.execute("INSERT INTO removal VALUES (?, ?)", (number, generation))
    _count(connection, -len(numbers), 0)
    return images


def _count(connection: Connection, people: int, images: int) -> None:
    connection.execute("UPDATE gallery SET people = people + ?, images = images + ?", (people, images))


def entry_vectors(persons: np.ndarray, embeddings: np.ndarray, entries: str) -> tuple[np.ndarray, np.ndarray]:
    """Make the vectors of people `[images]`, rising: `[vectors]` int64 the person of each, `[vectors, dim]` float32."""
    if entries == "images" or not len(persons):
        return np.asarray(persons, np.int64), np.asarray(embeddings, np.float32)
    first = np.flatnonzero(np.r_[True, persons[1:] != persons[:-1]])
    sums = np.add.reduceat(embeddings, first, axis=0, dtype=np.float64)
    norms = np.linalg.norm(sums, axis=1, keepdims=True)
    return np.asarray(persons[first], np.int64), (sums / np.where(norms > 0, norms, 1)).astype(np.float32)


def read_entries(connection: Connection, dim: int, entries: str, since: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `entry_vectors` of the people who changed after the generation `since`, some people at a time."""
    query = "SELECT i.person, i.embedding FROM image i{} ORDER BY i.person, i.id"
    changed = " JOIN person p ON i.person = p.id WHERE p.generation > ?"
    rows = connection.execute(query.format(changed), (since,)) if since else connection.execute(query.format(""))
    persons, embeddings = np.empty(0, np.int64), np.empty([0, dim], np.float32)
    while chunk := rows.fetchmany(_CHUNK):
        blobs = b"".join(blob for _, blob in chunk)
        if len(blobs) != len(chunk) * dim * 4:
            raise _damage(connection, f"{len(blobs):,} bytes of {len(chunk)} embeddings of {dim} numbers")
        persons = np.concatenate([persons, np.array([person for person, _ in chunk], np.int64)])
        embeddings = np.concatenate([embeddings, np.frombuffer(blobs, "<f4").reshape(-1, dim)])
        # The last person may go on in the next rows.
        whole = int(np.searchsorted(persons, persons[-1]))
        if whole:
            yield entry_vectors(persons[:whole], embeddings[:whole], entries)
            persons, embeddings = persons[whole:], embeddings[whole:]
    if len(persons):
        yield entry_vectors(persons, embeddings, entries)
