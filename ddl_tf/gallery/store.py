"""The SQLite file of a gallery: its people, their images and embeddings, changed by one transaction at a time.

gallery.db              the gallery; what is in it when a call returns is on the disk
gallery.db-wal, -shm    SQLite's, while the gallery is in use
index.faiss             a cache of what is searched (see `ddl_tf.gallery.cache`)

Here are its tables and transactions; `ddl_tf.gallery.rows` writes people and images into them.
"""

import contextlib
import dataclasses
import errno
import os
import sqlite3
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote_from_bytes

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import visible

DATABASE, CACHE, CACHE_ASIDE = "gallery.db", "index.faiss", "index.faiss.new"
FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", CACHE, CACHE_ASIDE)
FORMAT = 2
# "ddlg": a gallery, and no other SQLite file.
_APPLICATION = 0x64646C67
_BUSY_SECONDS = 60.0
# Words of SQLite's errors.
_OS_ERRORS = {"is full": errno.ENOSPC, "readonly": errno.EACCES, "unable to open": errno.EACCES, "disk I/O": errno.EIO}

# The stamp of a change is a random number: a cache, or a search that goes on, of a gallery that was since restored from
# a copy has the number of a generation, but not its stamp.
# Numbers of people are never given again (AUTOINCREMENT): a search that began before may still hold one.
_SCHEMA = """
CREATE TABLE gallery (
    one INTEGER PRIMARY KEY CHECK (one = 1), model TEXT NOT NULL, reference BLOB NOT NULL,
    entries TEXT NOT NULL, kind TEXT NOT NULL, threshold TEXT NOT NULL, people INTEGER NOT NULL,
    images INTEGER NOT NULL, generation INTEGER NOT NULL, created TEXT NOT NULL, changed TEXT NOT NULL);
CREATE TABLE change (generation INTEGER PRIMARY KEY, stamp INTEGER NOT NULL);
CREATE TABLE person (
    id INTEGER PRIMARY KEY AUTOINCREMENT, name TEXT NOT NULL UNIQUE, generation INTEGER NOT NULL);
CREATE INDEX person_generation ON person (generation);
CREATE TABLE image (
    id INTEGER PRIMARY KEY AUTOINCREMENT, person INTEGER NOT NULL REFERENCES person, source TEXT NOT NULL,
    time TEXT NOT NULL, embedding BLOB NOT NULL);
CREATE INDEX image_person ON image (person);
CREATE TABLE removal (person INTEGER PRIMARY KEY, generation INTEGER NOT NULL);
CREATE INDEX removal_generation ON removal (generation);
"""


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """By what a model differs from others, so that embeddings of two models never mix.

    Attributes:
        path: where it was read from, for people.
        sha256: of its file or, if exported, of its folder.
        dim: length of the embeddings.
        flip: whether the embedding of the mirrored image was added to what the model gives.
        reference: `[n, dim]` unit embeddings of fixed images; `[0, 0]` if not known. A checkpoint and the model that is
            exported from it have other files, but the same reference.
    """

    path: str
    sha256: str
    dim: int
    flip: bool = False
    reference: np.ndarray = dataclasses.field(default_factory=lambda: np.empty([0, 0], np.float32), compare=False)

    def check_same(self, record: "ModelRecord", where: str) -> None:
        """Refuse the embeddings of another model, or of another `flip`; `where` names whose model this is."""
        if record.dim != self.dim:
            lengths = f"gives embeddings of length {record.dim}, {where} has embeddings of length {self.dim}"
            raise InputError(f"{record.path}: {lengths} by {self.path}; use that model, or enrol everybody anew")
        # Exact for new records; those of old have a digest of the name too and are known by the reference below.
        if (record.sha256, record.flip) == (self.sha256, self.flip):
            return
        both = len(self.reference) and self.reference.shape == record.reference.shape
        similarity = float(np.sum(self.reference * record.reference, axis=1).min()) if both else 0.0
        # Exports and conversions of a model differ from it by rounding, two models by far more.
        if similarity < 0.9999:
            views = "" if record.flip == self.flip else f", {'with' if self.flip else 'without'} flip"
            remedy = f"{self.path} (sha256 {self.sha256[:12]}{views}); use that model, or enrol everybody anew"
            raise InputError(f"{record.path}: another model than that of {where}, {remedy}")


def is_gallery(folder: Path) -> bool:
    """Return whether a folder has a complete gallery.db; one whose making was interrupted is none."""
    _refuse_links(folder)
    file = folder / DATABASE
    if not file.is_file() or not file.stat().st_size:
        return False
    with _opened(folder, write=False) as connection:
        return _is_made(connection, file)


@contextlib.contextmanager
def reading(folder: Path) -> Iterator[sqlite3.Connection]:
    """Read one state of a gallery, whatever others change meanwhile: a connection within a transaction."""
    with _opened_gallery(folder, write=False) as connection:
        connection.execute("BEGIN")
        yield connection


@contextlib.contextmanager
def changing(folder: Path) -> Iterator[sqlite3.Connection]:
    """Change a gallery, waiting for others: all of the block is on the disk at its end or, after an error, nothing."""
    with _opened_gallery(folder, write=True) as connection, _transaction(connection):
        yield connection


@contextlib.contextmanager
def making(folder: Path) -> Iterator[sqlite3.Connection]:
    """Make a gallery in a missing or empty folder; an exception in the block leaves none."""
    check_free(folder)
    folder.mkdir(parents=True, exist_ok=True)
    with _opened(folder, write=True) as connection:
        # A page holds seven embeddings of 512; pages of 4096 bytes would hold one.
        connection.execute("PRAGMA page_size = 16384")
        connection.execute("PRAGMA journal_mode = WAL")
        with _transaction(connection):
            if _is_made(connection, folder / DATABASE):
                raise InputError(_exists(folder))
            for statement in filter(str.strip, _SCHEMA.split(";")):
                connection.execute(statement)
            connection.execute(f"PRAGMA application_id = {_APPLICATION}")
            connection.execute(f"PRAGMA user_version = {FORMAT}")
            yield connection


def check_free(folder: Path) -> None:
    """Refuse a folder that a new gallery cannot have to itself."""
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{visible(folder)}: it is no folder; choose another one for the gallery")
    if (folder / "gallery.json").is_file():
        raise InputError(_no_gallery(folder))
    if is_gallery(folder):
        raise InputError(_exists(folder))
    others = sorted(file.name for file in folder.iterdir() if file.name not in FILES) if folder.is_dir() else []
    if others:
        reason = f"the folder is not empty ({visible(others[0])} is in it)"
        raise InputError(f"{visible(folder)}: {reason}, and a gallery has one to itself; choose a new folder")


def _no_gallery(folder: Path) -> str:
    name = visible(folder)
    if (folder / "gallery.json").is_file():
        convert = f"`python -m ddl_tf.gallery convert --old={name} --gallery=NEW_FOLDER`"
        return f"{name}: a gallery of an older form; copy it into a new folder with {convert}, which leaves it as it is"
    return f"{name}: no gallery there; make one with `python -m ddl_tf.gallery enroll --gallery={name}`"


def _exists(folder: Path) -> str:
    return f"{visible(folder)}: there is a gallery already; enrol into it, or choose another folder"


def _refuse_links(folder: Path) -> None:
    for name in FILES:
        if (folder / name).is_symlink():
            raise InputError(f"{visible(folder / name)}: it is a link, which a gallery does not follow; remove it")


def _is_made(connection: sqlite3.Connection, file: Path) -> bool:
    (application,) = connection.execute("PRAGMA application_id").fetchone()
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if application == _APPLICATION and version != FORMAT:
        raise InputError(f"{visible(file)}: format {version}, where {FORMAT} is known; use a newer ddl_tf")
    if application != _APPLICATION and connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]:
        raise InputError(f"{visible(file)}: an SQLite file, but no gallery; choose another folder")
    return bool(application == _APPLICATION)


@contextlib.contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


@contextlib.contextmanager
def _opened_gallery(folder: Path, write: bool) -> Iterator[sqlite3.Connection]:
    if not (folder / DATABASE).is_file():
        raise InputError(_no_gallery(folder))
    with _opened(folder, write) as connection:
        if not _is_made(connection, folder / DATABASE):
            raise InputError(_no_gallery(folder))
        yield connection


@contextlib.contextmanager
def _opened(folder: Path, write: bool) -> Iterator[sqlite3.Connection]:
    """A connection of this call alone: none is shared by threads, or carried into a forked process."""
    _refuse_links(folder)
    file = folder / DATABASE
    uri = f"file:{quote_from_bytes(os.fsencode(file.absolute()))}?mode={'rwc' if write else 'rw'}"
    if not write and not os.access(folder, os.W_OK):
        # SQLite cannot make its -shm file there. Without a -wal file nobody writes.
        uri = uri.replace("mode=rw", "mode=ro") + ("" if (folder / f"{DATABASE}-wal").exists() else "&immutable=1")
    try:
        opened = sqlite3.connect(uri, uri=True, timeout=_BUSY_SECONDS, isolation_level=None)
        with contextlib.closing(opened) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            # What is removed is overwritten.
            connection.execute("PRAGMA secure_delete = ON")
            yield connection
    except sqlite3.DatabaseError as error:
        text = str(error)
        for words, number in _OS_ERRORS.items():
            if words in text:
                raise OSError(number, os.strerror(number), os.fspath(file)) from error
        locked = f"another process has been changing the gallery for {_BUSY_SECONDS:.0f} s; try again"
        reason = locked if "locked" in text else f"the gallery is damaged ({text}); restore it from a copy"
        raise InputError(f"{visible(file)}: {reason}") from error
