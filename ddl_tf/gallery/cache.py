"""What is searched of a gallery, in memory: it follows the changes of all processes, and is kept in a cache file.

The cache, index.faiss, is faiss's file with whom each vector stands for, of which state, and where that begins, at its
end. What changed since is read from the gallery: a cache that is missing, old or cut off costs time, and nothing else.
"""

import fcntl
import io
import json
import os
import struct
import warnings
from pathlib import Path
from sqlite3 import Connection
from typing import Any, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import visible
from ddl_tf.gallery.index import VectorIndex
from ddl_tf.gallery.rows import read_entries
from ddl_tf.gallery.search import UNUSED, Part, Snapshot
from ddl_tf.gallery.store import CACHE, CACHE_ASIDE

# Vectors of the last changes that are kept apart, since they are copied at each change.
_RECENT = 4096
# The share of vectors that may be out of use.
_UNUSED_SHARE = 0.25
# The share of people who may have changed since the cache; below so many, reading them all takes no time.
_OLD_SHARE, _FEW = 0.1, 10_000
_END = struct.Struct("<8sQ")
_MAGIC = b"ddl_tfG2"


def follow(connection: Connection, gallery: dict[str, Any], before: Optional[Snapshot], folder: Path) -> Snapshot:
    """Bring what was searched `before`, which stays as it is, to the state that `read_gallery` described."""
    if before is not None and _is_of(before, connection, gallery):
        return before if before.generation == gallery["generation"] else _advance(connection, gallery, before)
    cached = read_cache(folder, connection, gallery)
    count, changed = "SELECT count(*) FROM {} WHERE generation > ?", 0
    if cached is not None:
        since = (cached.generation,)
        changed = sum(connection.execute(count.format(table), since).fetchone()[0] for table in ("person", "removal"))
    if cached is None or changed > _OLD_SHARE * gallery["people"]:
        snapshot = make_snapshot(connection, gallery)
        if gallery["images"] > _FEW and os.access(folder, os.W_OK):
            try:
                write_cache(folder, snapshot)
            except OSError as error:
                warnings.warn(f"{folder}: what is searched was not kept for the next time ({error})", stacklevel=2)
        return snapshot
    cached.names.update(connection.execute("SELECT id, name FROM person"))  # type: ignore[attr-defined]
    return _advance(connection, gallery, cached)


def _is_of(snapshot: Snapshot, connection: Connection, gallery: dict[str, Any]) -> bool:
    stamped = _is_stamped(connection, snapshot.generation, snapshot.stamp)
    return stamped and (snapshot.entries, snapshot.parts[0].index.kind) == (gallery["entries"], gallery["index"])


def _is_stamped(connection: Connection, generation: int, stamp: int) -> bool:
    return connection.execute("SELECT stamp FROM change WHERE generation = ?", (generation,)).fetchone() == (stamp,)


def make_snapshot(connection: Connection, gallery: dict[str, Any]) -> Snapshot:
    """Read all that is searched of a gallery."""
    dim = gallery["model"]["dim"]
    index, persons = VectorIndex(dim, gallery["index"]), [np.empty(0, np.int64)]
    for person, vectors in read_entries(connection, dim, gallery["entries"], since=0):
        index.add(vectors)
        persons.append(person)
    parts = (Part(index, np.concatenate(persons)), Part(VectorIndex(dim, "exact"), np.empty(0, np.int64)))
    names = dict(connection.execute("SELECT id, name FROM person"))
    return Snapshot(gallery["generation"], gallery["stamp"], gallery["entries"], parts, names)


def _advance(connection: Connection, gallery: dict[str, Any], before: Snapshot) -> Snapshot:
    """Take the vectors of changed people out of use, and append those that they have now."""
    since, dim = before.generation, gallery["model"]["dim"]
    names = dict(connection.execute("SELECT id, name FROM person WHERE generation > ?", (since,)))
    removed = connection.execute("SELECT person FROM removal WHERE generation > ?", (since,))
    changed = np.array([*names, *(person for (person,) in removed)], np.int64)
    persons, vectors = [np.empty(0, np.int64)], [np.empty([0, dim], np.float32)]
    for person, rows in read_entries(connection, dim, gallery["entries"], since):
        persons.append(person)
        vectors.append(rows)
    large, recent = (np.where(np.isin(part.person, changed), UNUSED, part.person) for part in before.parts)
    used = np.flatnonzero(recent != UNUSED)
    last = np.concatenate([before.parts[1].index.vectors(used), *vectors])
    last_person = np.concatenate([recent[used], *persons])
    index = before.parts[0].index
    many_unused = np.mean(np.r_[large, 0] == UNUSED) > _UNUSED_SHARE
    if len(last) > _RECENT or many_unused:
        if many_unused:
            kept = np.flatnonzero(large != UNUSED)
            large, smaller = large[kept], VectorIndex(dim, index.kind)
            smaller.add(index.vectors(kept))
            index = smaller
        else:
            index = index.copy()
        index.add(last)
        large = np.concatenate([large, last_person])
        last, last_person = last[:0], last_person[:0]
    small = VectorIndex(dim, "exact")
    small.add(last)
    # Shared with the snapshots before: a number never stands for another name.
    before.names.update(names)  # type: ignore[attr-defined]
    parts = (Part(index, large), Part(small, last_person))
    return Snapshot(gallery["generation"], gallery["stamp"], before.entries, parts, before.names)


def write_cache(folder: Path, snapshot: Snapshot) -> None:
    """Keep the vectors of a snapshot that was made from nothing, for other processes."""
    aside, part = folder / CACHE_ASIDE, snapshot.parts[0]
    with open(os.open(aside, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW, 0o666), "r+b") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return  # another one is just writing it
        if not aside.exists() or not os.path.samestat(os.fstat(file.fileno()), aside.stat()):
            return  # another one has just written it
        part.index.write(aside)
        begin = file.seek(0, os.SEEK_END)
        state = {"generation": snapshot.generation, "stamp": snapshot.stamp, "entries": snapshot.entries}
        np.save(file, np.frombuffer(json.dumps(state).encode(), np.uint8), allow_pickle=False)
        np.save(file, part.person, allow_pickle=False)
        file.write(_END.pack(_MAGIC, begin))
        file.flush()
        os.fsync(file.fileno())
        os.replace(aside, folder / CACHE)


def read_cache(folder: Path, connection: Connection, gallery: dict[str, Any]) -> Optional[Snapshot]:
    """Read what `write_cache` kept: a snapshot without names; None if it is missing or of no use for this gallery."""
    path, dim = folder / CACHE, gallery["model"]["dim"]
    if not path.is_file():
        return None
    try:
        with path.open("rb") as file:
            file.seek(-_END.size, os.SEEK_END)
            magic, begin = _END.unpack(file.read())
            file.seek(begin)
            end = io.BytesIO(file.read() if magic == _MAGIC else b"")
        state = json.loads(np.load(end, allow_pickle=False).tobytes())
        person = np.load(end, allow_pickle=False)
        if not _is_stamped(connection, state["generation"], state["stamp"]):
            return None
        index = VectorIndex.read(path)
        parts = (Part(index, person), Part(VectorIndex(dim, "exact"), np.empty(0, np.int64)))
        cached = Snapshot(state["generation"], state["stamp"], state["entries"], parts, {})
    except (OSError, ValueError, KeyError, EOFError, InputError) as error:
        warnings.warn(f"{visible(path)}: a cache that cannot be read ({error}); it is made anew", stacklevel=2)
        return None
    fits = index.dim == dim and person.dtype == np.int64 and person.shape == (len(index),)
    return cached if fits and _is_of(cached, connection, gallery) else None
