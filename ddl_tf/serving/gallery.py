"""A gallery: people enrolled by the embeddings of their images, and searched by those of others."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.errors import InputError
from ddl_tf.files import lock_folder
from ddl_tf.provenance import utc_now
from ddl_tf.serving.gallery_entries import ENTRIES, NEW, add_entries, drop_unused
from ddl_tf.serving.gallery_files import (
    FORMAT,
    State,
    is_gallery,
    read_description,
    read_model,
    read_state,
    write_reference,
    write_state,
)
from ddl_tf.serving.gallery_search import Found, search_people
from ddl_tf.serving.model_record import ModelRecord
from ddl_tf.serving.vector_index import KINDS, VectorIndex

EXISTING = ("refuse", "add", "replace")


def unit_rows(embeddings: np.ndarray, dim: int, what: str) -> np.ndarray:
    """Check embeddings, and scale them to unit norm.

    Args:
        embeddings: `[n, dim]`.
        dim: the length that they shall have.
        what: they are, for messages.

    Returns:
        `[n, dim]` float32.

    Raises:
        InputError: if the shape is another, or an embedding is not finite or zero.
    """
    rows = np.asarray(embeddings, np.float64)
    if rows.ndim != 2 or rows.shape[1] != dim:
        raise InputError(f"{what} of shape {list(rows.shape)}: expected [n, {dim}], as the gallery's model gives them")
    norms = np.linalg.norm(rows, axis=1, keepdims=True)
    bad = ~(np.isfinite(norms) & (norms > 0)).ravel()
    if bad.any():
        raise InputError(f"{what}: row {np.argmax(bad)} is zero or not finite ({bad.sum()} are); leave it out")
    return (rows / norms).astype(np.float32)


def check_threshold(value: float) -> None:
    """Refuse what is no similarity to accept from.

    Args:
        value: the threshold.

    Raises:
        InputError: if it is not in -1..1.
    """
    if not -1 <= value <= 1:
        raise InputError(f"threshold {value}: a cosine similarity of -1 to 1 is expected")


class Gallery:
    """People enrolled by embeddings, in a folder (see `ddl_tf.serving.gallery_files`).

    Every change is on the disk, whole, when the call returns; a killed process leaves the state before it. One process
    at a time changes a gallery, any number may search it: each searches the state that it opened.

    Args:
        folder: of the gallery; `Gallery.create` makes a new one.

    Attributes:
        folder: the folder.

    Raises:
        InputError: if there is no gallery, a file is damaged, or faiss is not installed.

    Example:
        >>> gallery = Gallery.create("people", ModelRecord("faces", "", 2))  # doctest: +SKIP
        >>> gallery.enrol(["anna", "ben"], np.eye(2), ["a.jpg", "b.jpg"])  # doctest: +SKIP
        >>> gallery.search(np.array([[0.6, 0.8]]), k=1).people  # doctest: +SKIP
        array([['ben']], dtype=object)
    """

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)
        self._state = read_state(self.folder)
        self._working = False

    @classmethod
    def create(
        cls,
        folder: str,
        model: ModelRecord,
        entries: str = "templates",
        index: str = "exact",
        threshold: Optional[Mapping[str, Any]] = None,
    ) -> "Gallery":
        """Make a new gallery, with nobody in it.

        Args:
            folder: it is made if it is missing.
            model: whose embeddings it will have.
            entries: what is searched: a template for each person, or all images, of which the most similar counts.
            index: `exact` or `approximate`.
            threshold: None, or `value` (the similarity from which a person counts as known) and where it comes from, as
                JSON takes it.

        Returns:
            The gallery.

        Raises:
            InputError: if there is one already, or a choice is none.
        """
        for name, given, choices in (("entries", entries, ENTRIES), ("index", index, KINDS)):
            if given not in choices:
                raise InputError(f"{name} {given!r}: use one of {', '.join(choices)}")
        if threshold is not None:
            check_threshold(threshold["value"])
        path = Path(folder)
        with lock_folder(path):
            if is_gallery(path):
                raise InputError(f"{folder}: there is a gallery already; enrol into it, or choose another folder")
            now = utc_now()
            description = {
                "format": FORMAT,
                "generation": 1,
                "model": model.describe(),
                "entries": entries,
                "index": index,
                "threshold": None if threshold is None else dict(threshold),
                "people": 0,
                "images": 0,
                "created": now,
                "changed": now,
            }
            images = pd.DataFrame({name: pd.Series(dtype=str) for name in ("person", "source", "time")})
            nothing = np.empty([0, model.dim], np.float32)
            write_reference(path, model.reference)
            write_state(path, State(description, images.assign(entry=0), nothing, VectorIndex(model.dim, index)))
        return cls(folder)

    @property
    def description(self) -> dict[str, Any]:
        """What gallery.json says."""
        return dict(self._state.description)

    @property
    def model(self) -> ModelRecord:
        """Whose embeddings the gallery has."""
        return read_model(self.folder, self._state.description)

    @property
    def threshold(self) -> Optional[float]:
        """The similarity from which a person counts as known, -1..1; None if none was chosen."""
        chosen = self._state.description["threshold"]
        return None if chosen is None else float(chosen["value"])

    @property
    def images(self) -> pd.DataFrame:
        """A row for each enrolled image: `person`, `source`, `time` (ISO 8601, UTC)."""
        return self._state.images.drop(columns="entry")

    def people(self) -> pd.DataFrame:
        """Count the images of each person.

        Returns:
            A row for each person in order of enrolment: `person`, `images`, `time` of the last image.
        """
        groups = self._state.images.groupby("person", sort=False)["time"]
        return groups.agg(["size", "max"]).rename(columns={"size": "images", "max": "time"}).reset_index()

    @contextlib.contextmanager
    def working(self) -> Iterator[None]:
        """Keep other processes from changing the gallery until the end of the block.

        Each change does it by itself; for work before a change that should not be in vain, such as embedding images.

        Yields:
            Nothing.

        Raises:
            InputError: if another process is changing it.
        """
        if self._working:
            yield
            return
        with lock_folder(self.folder):
            self._working = True
            try:
                if read_description(self.folder)["generation"] != self._state.description["generation"]:
                    self._state = read_state(self.folder)
                yield
            finally:
                self._working = False

    def check_new(self, people: Sequence[str], existing: str) -> None:
        """Refuse people who are enrolled already, unless it is said what to do about them.

        Args:
            people: whom to enrol.
            existing: as for `enrol`.

        Raises:
            InputError: naming some of them.
        """
        if existing not in EXISTING:
            raise InputError(f"existing {existing!r}: use one of {', '.join(EXISTING)}")
        there = sorted(set(people) & set(self._state.images["person"]))
        if existing == "refuse" and there:
            names = ", ".join(there[:3]) + (", ..." if len(there) > 3 else "")
            raise InputError(
                f"{self.folder}: {len(there)} of the people are enrolled already ({names}): say whether to add their "
                "images or to replace them (--existing=add or replace)"
            )

    def enrolled(self, people: Sequence[str], sources: Sequence[str]) -> np.ndarray:
        """Tell which images are in the gallery.

        Args:
            people: `[n]`, whom each shows.
            sources: `[n]`, what each is called.

        Returns:
            `[n]` bool.
        """
        there = set(zip(self._state.images["person"], self._state.images["source"]))
        return np.array([pair in there for pair in zip(people, sources)], bool)

    def enrol(
        self, people: Sequence[str], embeddings: np.ndarray, sources: Sequence[str], existing: str = "refuse"
    ) -> int:
        """Enrol people.

        Args:
            people: `[n]`, whom each image shows; not empty.
            embeddings: `[n, dim]`, by the gallery's model; their norms do not count.
            sources: `[n]`, what each image is called.
            existing: what to do if one of the people is enrolled already: `refuse`; `add` the images to those that are
                there, but for images of the person with the same source; or `replace` those that are there.

        Returns:
            How many images were enrolled.

        Raises:
            InputError: if that is refused, the sizes do not fit, or an embedding is not finite or zero.
        """
        rows = unit_rows(embeddings, self._state.embeddings.shape[1], "embeddings to enrol")
        if not len(rows) == len(people) == len(sources):
            raise InputError(
                f"{len(rows)} embeddings, {len(people)} people and {len(sources)} sources: give one for each"
            )
        if not all(people):
            raise InputError("a person to enrol has no name: give each one")
        with self.working():
            self.check_new(people, existing)
            before = self._state.images
            stays = (
                ~before["person"].isin(set(people)).to_numpy() if existing == "replace" else np.full(len(before), True)
            )
            fresh = ~self.enrolled(people, sources) if existing == "add" else np.full(len(rows), True)
            columns = {"person": list(people), "source": list(sources), "time": utc_now(), "entry": NEW}
            new = pd.DataFrame(columns)[fresh]
            if new.empty:
                return 0
            images = pd.concat([before[stays], new], ignore_index=True)
            if self._state.description["entries"] == "templates":
                images.loc[images["person"].isin(set(new["person"])), "entry"] = NEW
            kept = self._state.embeddings if stays.all() else self._state.embeddings[stays]
            self._change(images, np.concatenate([kept, rows[fresh]]))
            return len(new)

    def remove(self, people: Sequence[str]) -> int:
        """Remove people.

        Args:
            people: whom to remove.

        Returns:
            How many images they had.

        Raises:
            InputError: if one is not enrolled; then nobody is removed.
        """
        with self.working():
            images = self._state.images
            unknown = [person for person in people if person not in set(images["person"])]
            if unknown:
                raise InputError(f"{self.folder}: {unknown[0]!r} is not enrolled; `list` tells who is")
            stays = ~images["person"].isin(set(people)).to_numpy()
            self._change(images[stays].reset_index(drop=True), self._state.embeddings[stays])
            return int(np.sum(~stays))

    def set_threshold(self, threshold: Optional[Mapping[str, Any]]) -> None:
        """Choose the similarity from which a person counts as known.

        Args:
            threshold: as for `create`.
        """
        if threshold is not None:
            check_threshold(threshold["value"])
        with self.working():
            chosen = None if threshold is None else dict(threshold)
            self._change(self._state.images, self._state.embeddings, threshold=chosen)

    def search(self, embeddings: np.ndarray, k: int = 5, threshold: Optional[float] = None) -> Found:
        """Find the most similar people.

        Args:
            embeddings: `[n, dim]`, by the gallery's model; their norms do not count.
            k: how many people to find for each; all, if there are fewer.
            threshold: another one than the gallery's.

        Returns:
            People and similarities, the most similar first, and who is known by the threshold.

        Raises:
            InputError: if k is below 1, or an embedding has another length, or is not finite or zero.
        """
        if k < 1:
            raise InputError(f"k={k}: at least one person must be looked for")
        queries = unit_rows(embeddings, self._state.embeddings.shape[1], "embeddings to search")
        assert self._state.index is not None
        return search_people(
            self._state.index, self._state.images, queries, k, self.threshold if threshold is None else threshold
        )

    def _change(self, images: pd.DataFrame, embeddings: np.ndarray, **described: Any) -> None:
        """Write the next state; rows of entry NEW get vectors in the index."""
        description = self._state.description
        index = self._state.index
        assert index is not None
        index, images = drop_unused(index, images)
        images = add_entries(index, images, embeddings, description["entries"])
        state = State(
            {
                **description,
                **described,
                "generation": description["generation"] + 1,
                "people": int(images["person"].nunique()),
                "images": len(images),
                "changed": utc_now(),
            },
            images,
            embeddings,
            index,
        )
        write_state(self.folder, state)
        self._state = state


def rebuild_index(folder: str, kind: Optional[str] = None) -> None:
    """Make the index of a gallery anew from its embeddings: one that is damaged, or is to be of the other kind.

    Args:
        folder: of the gallery.
        kind: `exact` or `approximate`; None leaves it as it is.

    Raises:
        InputError: if there is no gallery, or another process is changing it.
    """
    path = Path(folder)
    read_description(path)
    with lock_folder(path):
        state = read_state(path, with_index=False)
        description = dict(state.description)
        description.update(
            generation=description["generation"] + 1, index=kind or description["index"], changed=utc_now()
        )
        index = VectorIndex(description["model"]["dim"], description["index"])
        images = add_entries(index, state.images.assign(entry=NEW), state.embeddings, description["entries"])
        write_state(path, State(description, images, state.embeddings, index))
