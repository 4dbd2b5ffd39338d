"""A gallery: people enrolled by the embeddings of their images, and searched by those of others."""

import contextlib
import json
import sqlite3
import threading
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.common.provenance import utc_now
from ddl_tf.common.text import is_unicode, visible
from ddl_tf.gallery import rows as gallery_rows
from ddl_tf.gallery.cache import follow, make_snapshot, write_cache
from ddl_tf.gallery.index import KINDS
from ddl_tf.gallery.search import Found, Snapshot, search_people
from ddl_tf.gallery.store import ModelRecord, changing, making, reading

EXISTING = ("refuse", "add", "replace")
# Images of a gallery of the older form that are copied at a time.
_CHUNK = 50_000


def unit_rows(embeddings: np.ndarray, dim: int, what: str) -> np.ndarray:
    """Check embeddings `[n, dim]`, and scale them to unit norm, float32; `what` names them in an error."""
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise InputError(f"{what} of shape {list(rows.shape)}: expected [n, {dim}], as the gallery's model gives them")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = ~(np.isfinite(norms) & (norms > 0)).ravel()
    if bad.any():
        rows_like_it = f"as {bad.sum()} of {len(bad)} rows are; leave them out"
        raise InputError(f"{what}: row {np.argmax(bad)} is zero or not finite, {rows_like_it}")
    return (rows / norms).astype(np.float32)


def check_threshold(value: Optional[float]) -> None:
    """Refuse a threshold that is not in -1..1; None is none."""
    if value is not None and not -1 <= value <= 1:
        raise InputError(f"threshold {value}: a cosine similarity of -1 to 1 is expected")


def check_names(people: Sequence[str], sources: Sequence[str]) -> None:
    """Refuse names that are empty or no text; any character is stored, bytes that are no UTF-8 are no character."""
    if not all(people):
        raise InputError("a person to enrol has no name: give each one")
    for what, names in (("person", people), ("source", sources)):
        for name in names:
            if not isinstance(name, str):
                raise InputError(f"{what} {name!r}: names are text")
            if not is_unicode(name):
                raise InputError(f"{what} {visible(name)!r}: the name is no UTF-8; rename it")


class Gallery:
    """People enrolled by embeddings, in a folder of their own (see `ddl_tf.gallery.store`).

    When a call returns, its change is on the disk, whole; a killed process leaves the state before it. Any number of
    threads and processes may use one gallery, and one `Gallery` object, at once. Changes wait for each other, searches
    wait for nobody. Each search sees one state, with all changes that had returned before it.

    Args:
        folder: of the gallery; `Gallery.create` makes a new one.

    Raises:
        InputError: if there is no gallery, it is of the older form, or it is damaged.

    Example:
        >>> import tempfile
        >>> gallery = Gallery.create(tempfile.mkdtemp(), ModelRecord("faces", "", 2))
        >>> gallery.enrol(["anna", "ben"], np.eye(2), ["a.jpg", "b.jpg"])
        2
        >>> gallery.search(np.array([[0.6, 0.8]]), k=1).people
        array([['ben']], dtype=object)
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._snapshot: Optional[Snapshot] = None
        self._following = threading.Lock()
        self._thread = threading.local()
        self._dim = int(self.description["model"]["dim"])

    @classmethod
    def create(
        cls,
        folder: str,
        model: ModelRecord,
        entries: str = "templates",
        index: str = "exact",
        threshold: Optional[Mapping[str, Any]] = None,
    ) -> "Gallery":
        """Make a new gallery, with nobody in it, in a missing or empty folder.

        `model` is whose embeddings it will have. `entries` are what is searched: `templates` of the people, or all
        `images`, of which the most similar counts; `index` is `exact` or `approximate`. `threshold` has `value`, the
        similarity from which a person is known, and its source, as JSON takes it.
        """
        for name, choice, choices in (("entries", entries, gallery_rows.ENTRIES), ("index", index, KINDS)):
            if choice not in choices:
                raise InputError(f"{name} {choice!r}: use one of {', '.join(choices)}")
        check_threshold(None if threshold is None else threshold["value"])
        with making(Path(folder)) as connection:
            gallery_rows.insert_gallery(connection, model, entries, index, threshold, utc_now())
        return cls(folder)

    @property
    def description(self) -> dict[str, Any]:
        """What the gallery is: see `ddl_tf.gallery.rows.read_gallery`."""
        with self._reading() as connection:
            return gallery_rows.read_gallery(connection)

    @property
    def model(self) -> ModelRecord:
        """Whose embeddings the gallery has."""
        with self._reading() as connection:
            return gallery_rows.read_model(connection)

    @property
    def threshold(self) -> Optional[float]:
        """The similarity from which a person counts as known, -1..1; None if none was chosen."""
        chosen = self.description["threshold"]
        return None if chosen is None else float(chosen["value"])

    @property
    def images(self) -> pd.DataFrame:
        """A row for each enrolled image: `person`, `source`, `time` (ISO 8601, UTC)."""
        query = "SELECT p.name, i.source, i.time FROM image i JOIN person p ON p.id = i.person ORDER BY i.id"
        return self._table(query, ["person", "source", "time"])

    def people(self) -> pd.DataFrame:
        """Count the images of each person, in order of enrolment: `person`, `images`, `time` of the last."""
        query = "SELECT p.name, count(*), max(i.time) FROM image i JOIN person p ON p.id = i.person GROUP BY i.person"
        return self._table(f"{query} ORDER BY min(i.id)", ["person", "images", "time"])

    def _table(self, query: str, columns: list[str]) -> pd.DataFrame:
        with self._reading() as connection:
            return pd.DataFrame(connection.execute(query).fetchall(), columns=columns)

    @contextlib.contextmanager
    def working(self) -> Iterator[sqlite3.Connection]:
        """Join several changes: all calls of this thread in the block are on the disk at its end, or none is.

        It is for a threshold and the people whom it is for. Other changes wait meanwhile: embed images before.
        """
        if getattr(self._thread, "change", None) is not None:
            yield self._thread.change
            return
        with changing(self.folder) as connection:
            self._thread.change = connection
            try:
                yield connection
            finally:
                self._thread.change = None

    def _reading(self) -> contextlib.AbstractContextManager[sqlite3.Connection]:
        open_change = getattr(self._thread, "change", None)
        return reading(self.folder) if open_change is None else contextlib.nullcontext(open_change)

    def check_new(self, people: Sequence[str], existing: str) -> None:
        """Refuse people who are enrolled already, unless `existing` says what to do (see `enrol`)."""
        if existing not in EXISTING:
            raise InputError(f"existing {existing!r}: use one of {', '.join(EXISTING)}")
        if existing != "refuse":
            return
        check_names(people, ())
        with self._reading() as connection:
            known = sorted(gallery_rows.numbers_of(connection, people))
        if known:
            names = ", ".join(map(visible, known[:3])) + (", ..." if len(known) > 3 else "")
            reason = f"{len(known)} of the people are enrolled already ({names}): add or replace their images"
            raise InputError(f"{visible(self.folder)}: {reason} with --existing=add or replace")

    def enrolled(self, people: Sequence[str], sources: Sequence[str]) -> np.ndarray:
        """Return `[n]` bool: whether an image of this person and source is enrolled."""
        check_names(people, sources)
        with self._reading() as connection:
            query = "SELECT p.name, i.source FROM image i JOIN person p ON p.id = i.person WHERE p.id = ?"
            numbers = gallery_rows.numbers_of(connection, people).values()
            known = {row for number in numbers for row in connection.execute(query, (number,))}
        return np.array([row in known for row in zip(people, sources)], bool)

    def enrol(
        self, people: Sequence[str], embeddings: np.ndarray, sources: Sequence[str], existing: str = "refuse"
    ) -> int:
        """Enrol people.

        Args:
            people: `[n]`, whom each image shows; not empty.
            embeddings: `[n, dim]`, by the gallery's model; their norms do not count.
            sources: `[n]`, name of each image.
            existing: what to do if one of the people is enrolled already: `refuse`; `add` the images that are not there
                yet, by person and source; or `replace` all images of the person.

        Returns:
            How many images were enrolled.

        Raises:
            InputError: if a person is refused, sizes do not fit, a name is no text, or an embedding is not finite or
                zero.
        """
        rows = unit_rows(embeddings, self._dim, "embeddings to enrol")
        people, sources = list(people), list(sources)
        if not len(rows) == len(people) == len(sources):
            counts = f"{len(rows)} embeddings, {len(people)} people and {len(sources)} sources"
            raise InputError(f"{counts}: give a person and a source for each embedding")
        check_names(people, sources)
        with self.working() as connection:
            self.check_new(people, existing)
            fresh = np.flatnonzero(~self.enrolled(people, sources)) if existing == "add" else np.arange(len(rows))
            if not len(fresh):
                return 0
            if existing == "replace":
                for number in gallery_rows.numbers_of(connection, people).values():
                    gallery_rows.delete_images(connection, number)
            names, files = ([column[row] for row in fresh] for column in (people, sources))
            gallery_rows.insert_images(connection, names, files, [utc_now()] * len(fresh), rows[fresh])
        return len(fresh)

    def remove(self, people: Sequence[str]) -> int:
        """Remove people, and return how many images they had; nobody is removed if one is not enrolled."""
        with self.working() as connection:
            check_names(people, ())
            numbers = gallery_rows.numbers_of(connection, people)
            unknown = [person for person in people if person not in numbers]
            if unknown:
                raise InputError(f"{visible(self.folder)}: {visible(unknown[0])!r} is not enrolled; see `list`")
            return gallery_rows.delete_people(connection, list(numbers.values()))

    def set_threshold(self, threshold: Optional[Mapping[str, Any]]) -> None:
        """Choose the similarity from which a person is known; `threshold` as for `create`."""
        check_threshold(None if threshold is None else threshold["value"])
        with self.working() as connection:
            chosen = json.dumps(threshold and dict(threshold), allow_nan=False)
            gallery_rows.update_gallery(connection, "threshold", chosen)

    def search(self, embeddings: np.ndarray, k: int = 5, threshold: Optional[float] = None) -> Found:
        """Find the most similar people.

        Args:
            embeddings: `[n, dim]`, by the gallery's model; their norms do not count.
            k: how many people to find for each; all, if there are fewer.
            threshold: instead of the gallery's.

        Raises:
            InputError: if k is below 1, or an embedding has another length, or is not finite or zero.
        """
        if k < 1:
            raise InputError(f"k={k}: at least one person must be looked for")
        queries = unit_rows(embeddings, self._dim, "embeddings to search")
        # One thread brings the snapshot up to date; then each searches what it got, which nobody changes any more.
        with self._following, reading(self.folder) as connection:
            description = gallery_rows.read_gallery(connection)
            snapshot = self._snapshot = follow(connection, description, self._snapshot, self.folder)
        chosen = description["threshold"] if threshold is None else {"value": threshold}
        return search_people(snapshot, queries, k, None if chosen is None else chosen["value"])


def rebuild_index(folder: str, kind: Optional[str] = None) -> None:
    """Make the cache of what is searched anew, with `kind` (`exact`, `approximate`) as an index of that kind."""
    path = Path(folder)
    if kind is not None:
        if kind not in KINDS:
            raise InputError(f"index {kind!r}: use one of {', '.join(KINDS)}")
        with changing(path) as connection:
            gallery_rows.update_gallery(connection, "kind", kind)
    with reading(path) as connection:
        write_cache(path, make_snapshot(connection, gallery_rows.read_gallery(connection)))


def convert_gallery(old: str, folder: str) -> None:
    """Make a gallery in `folder` of one of the older form in `old`, where nothing is changed."""
    path = Path(old)
    file = path / "gallery.json"
    if not file.is_file():
        raise InputError(f"{visible(path)}: no gallery of the older form there (it has a gallery.json)")
    try:
        facts = json.loads(file.read_text(encoding="utf-8"))
        if facts["format"] != 1:
            raise InputError(f"{visible(file)}: format {facts['format']}, where 1 is converted")
        current = path / str(facts["generation"])
        for part in (current / "images.csv", current / "embeddings.npy", path / "reference.npy"):
            require_regular_file(part)
        # A lone carriage return in a name was written without quotes, and ends no line.
        images = pd.read_csv(current / "images.csv", dtype=str, keep_default_na=False, lineterminator="\n")
        embeddings = np.load(current / "embeddings.npy", mmap_mode="r", allow_pickle=False)
        shape = (facts["images"], facts["model"]["dim"])
        if embeddings.shape != shape or len(images) != shape[0] or not np.isfinite(embeddings).all():
            raise ValueError("its files do not fit together")
        model = ModelRecord(**facts["model"], reference=np.load(path / "reference.npy", allow_pickle=False))
        row = (model, facts["entries"], facts["index"], facts["threshold"], facts["created"])
    except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{visible(path)}: the gallery is damaged ({reason}); restore it from a copy") from None
    with making(Path(folder)) as connection:
        gallery_rows.insert_gallery(connection, *row)
        columns = [images[name].tolist() for name in ("person", "source", "time")]
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            people, sources, times = (column[rows] for column in columns)
            gallery_rows.insert_images(connection, people, sources, times, embeddings[rows])
