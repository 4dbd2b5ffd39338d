"""The rows of a gallery: what its tables say, and the changes of people within a transaction."""

import io
import json
import secrets
import sqlite3
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.provenance import utc_now
from ddl_tf.gallery.model_record import ModelRecord
from ddl_tf.gallery.store import FORMAT

_COLUMNS = ("generation", "model", "entries", "index", "threshold", "people", "images", "created", "changed")


def insert_gallery(
    connection: sqlite3.Connection,
    model: ModelRecord,
    entries: str,
    index: str,
    threshold: Optional[Mapping[str, Any]],
    created: str,
) -> None:
    """Describe a new gallery; `threshold` as for `Gallery.create`, `created` in ISO 8601."""
    reference = io.BytesIO()
    np.save(reference, model.reference, allow_pickle=False)
    connection.execute(
        "INSERT INTO gallery VALUES (1, ?, ?, ?, ?, ?, 0, 0, 1, ?, ?)",
        (
            json.dumps(model.describe()),
            reference.getvalue(),
            entries,
            index,
            json.dumps(None if threshold is None else dict(threshold), allow_nan=False),
            created,
            created,
        ),
    )
    connection.execute("INSERT INTO change VALUES (1, ?)", (secrets.randbits(63),))


def read_gallery(connection: sqlite3.Connection) -> dict[str, Any]:
    """Read the description of a gallery: its row, and `format` and `stamp` (of the last change)."""
    row = connection.execute(
        "SELECT generation, model, entries, kind, threshold, people, images, created, changed FROM gallery"
    ).fetchone()
    if row is None:
        raise InputError("the gallery is damaged (it is not described); restore it from a copy")
    content = dict(zip(_COLUMNS, row))
    (stamp,) = connection.execute("SELECT stamp FROM change WHERE generation = ?", row[:1]).fetchone()
    return {
        **content,
        "format": FORMAT,
        "stamp": stamp,
        "model": json.loads(content["model"]),
        "threshold": json.loads(content["threshold"]),
    }


def read_model(connection: sqlite3.Connection) -> ModelRecord:
    """Read whose embeddings a gallery has."""
    model, reference = connection.execute("SELECT model, reference FROM gallery").fetchone()
    return ModelRecord(**json.loads(model), reference=np.load(io.BytesIO(reference), allow_pickle=False))


def mark_change(connection: sqlite3.Connection) -> int:
    """Begin the next generation, and return its number."""
    connection.execute("UPDATE gallery SET generation = generation + 1, changed = ?", (utc_now(),))
    (generation,) = connection.execute("SELECT generation FROM gallery").fetchone()
    connection.execute("INSERT INTO change VALUES (?, ?)", (generation, secrets.randbits(63)))
    return int(generation)


def update_gallery(connection: sqlite3.Connection, **change: Any) -> None:
    """Change `threshold` or `index` of a gallery; a generation more."""
    mark_change(connection)
    if "threshold" in change:
        connection.execute("UPDATE gallery SET threshold = ?", (json.dumps(change["threshold"], allow_nan=False),))
    if "index" in change:
        connection.execute("UPDATE gallery SET kind = ?", (change["index"],))


def numbers_of(connection: sqlite3.Connection, people: Sequence[str]) -> dict[str, int]:
    """Look people up: name -> number of those who are enrolled, in order."""
    found = {}
    for person in dict.fromkeys(people):
        row = connection.execute("SELECT id FROM person WHERE name = ?", (person,)).fetchone()
        if row is not None:
            found[person] = int(row[0])
    return found


def sources_of(connection: sqlite3.Connection, number: int) -> set[str]:
    """Read the names of a person's images."""
    return {source for (source,) in connection.execute("SELECT source FROM image WHERE person = ?", (number,))}


def insert_images(
    connection: sqlite3.Connection,
    people: Sequence[str],
    sources: Sequence[str],
    times: Sequence[str],
    embeddings: np.ndarray,
) -> None:
    """Add images `[n]` with `[n, dim]` float32 of unit norm, of people who are enrolled or not; a generation more."""
    generation = mark_change(connection)
    numbers = numbers_of(connection, people)
    connection.executemany(
        "UPDATE person SET generation = ? WHERE id = ?", ((generation, number) for number in numbers.values())
    )
    fresh = [person for person in dict.fromkeys(people) if person not in numbers]
    for person in fresh:
        inserted = connection.execute("INSERT INTO person (name, generation) VALUES (?, ?)", (person, generation))
        numbers[person] = int(inserted.lastrowid or 0)
    rows = np.ascontiguousarray(embeddings, "<f4")
    connection.executemany(
        "INSERT INTO image (person, source, time, embedding) VALUES (?, ?, ?, ?)",
        (
            (numbers[person], source, time, row.tobytes())
            for person, source, time, row in zip(people, sources, times, rows)
        ),
    )
    _count(connection, len(fresh), len(rows))


def delete_images(connection: sqlite3.Connection, number: int) -> int:
    """Delete all images of a person, who stays, and return how many they were."""
    deleted = connection.execute("DELETE FROM image WHERE person = ?", (number,)).rowcount
    _count(connection, 0, -deleted)
    return deleted


def delete_people(connection: sqlite3.Connection, numbers: Sequence[int]) -> int:
    """Delete people, and return how many images they had; a generation more."""
    generation = mark_change(connection)
    images = 0
    for number in numbers:
        images += delete_images(connection, number)
        connection.execute("DELETE FROM person WHERE id = ?", (number,))
        connection.execute("INSERT INTO removal VALUES (?, ?)", (number, generation))
    _count(connection, -len(numbers), 0)
    return images


def _count(connection: sqlite3.Connection, people: int, images: int) -> None:
    connection.execute("UPDATE gallery SET people = people + ?, images = images + ?", (people, images))
