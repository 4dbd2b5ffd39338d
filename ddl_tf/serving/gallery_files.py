"""The files of a gallery, of which a reader sees one state, whole, whatever happens to the process that changes it.

gallery.json            what the gallery is, and the number of its present state; written last
reference.npy           the model's embeddings of fixed images (see ModelRecord)
lock                    held by the process that changes it
7/embeddings.npy        [images, dim] float32 of unit norm
7/images.csv            a row for each image: person, source, time, entry (the number of its vector in the index)
7/index.faiss           the vectors that are searched
"""

import dataclasses
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd

from ddl_tf.errors import InputError
from ddl_tf.files import remove_leftovers, write_aside
from ddl_tf.serving.model_record import ModelRecord
from ddl_tf.serving.vector_index import VectorIndex

DESCRIPTION, REFERENCE, EMBEDDINGS, IMAGES, INDEX = (
    "gallery.json",
    "reference.npy",
    "embeddings.npy",
    "images.csv",
    "index.faiss",
)
FORMAT = 1
_KEYS = ("format", "generation", "model", "entries", "index", "threshold", "people", "images", "created", "changed")


@dataclasses.dataclass(frozen=True)
class State:
    """A gallery as it is at one time.

    Attributes:
        description: the content of gallery.json.
        images: a row for each image: `person`, `source`, `time` as text, `entry` int64.
        embeddings: `[images, dim]` float32 of unit norm, perhaps in a memory map.
        index: what is searched; None if it was not asked for.
    """

    description: Mapping[str, Any]
    images: pd.DataFrame
    embeddings: np.ndarray
    index: Optional[VectorIndex]


def is_gallery(folder: Path) -> bool:
    """Tell whether there is a gallery in a folder.

    Args:
        folder: need not be there.

    Returns:
        Whether it has a description.
    """
    return (folder / DESCRIPTION).is_file()


def read_description(folder: Path) -> dict[str, Any]:
    """Read gallery.json.

    Args:
        folder: of the gallery.

    Returns:
        Its content.

    Raises:
        InputError: if there is none, or it is damaged.
    """
    file = folder / DESCRIPTION
    if not file.is_file():
        raise InputError(
            f"{folder}: no gallery there; make one with `python -m ddl_tf.gallery enroll --gallery={folder}`"
        )
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        missing = [key for key in _KEYS if key not in content]
    except (ValueError, TypeError) as error:
        raise InputError(f"{file}: no gallery's description ({error}); restore it from a copy") from None
    if missing or content["format"] != FORMAT:
        reason = f"{missing[0]!r} is missing" if missing else f"format {content['format']}, where {FORMAT} is known"
        raise InputError(f"{file}: no gallery's description ({reason}); restore it, or use a newer ddl_tf")
    return content


def read_model(folder: Path, description: Mapping[str, Any]) -> ModelRecord:
    """Read whose embeddings a gallery has.

    Args:
        folder: of the gallery.
        description: of the gallery.

    Returns:
        The model's record, with its embeddings of fixed images.

    Raises:
        InputError: if it is damaged.
    """
    file = folder / REFERENCE
    try:
        return ModelRecord(**description["model"], reference=np.load(file, allow_pickle=False))
    except (TypeError, ValueError, EOFError) as error:
        raise InputError(f"{file}: the model's record is damaged ({error}); restore it from a copy") from None


def read_state(folder: Path, with_index: bool = True) -> State:
    """Read a gallery, while another process may change it.

    Args:
        folder: of the gallery.
        with_index: whether to read the index too.

    Returns:
        Its state.

    Raises:
        InputError: if there is none, or a file is damaged.
    """
    while True:
        description = read_description(folder)
        try:
            return _read_generation(folder / str(description["generation"]), description, with_index)
        except FileNotFoundError:
            # It was removed when the next one was complete; otherwise it is really missing.
            if read_description(folder)["generation"] == description["generation"]:
                raise


def _read_generation(folder: Path, description: Mapping[str, Any], with_index: bool) -> State:
    try:
        images = pd.read_csv(
            folder / IMAGES,
            dtype={"person": str, "source": str, "time": str, "entry": np.int64},
            keep_default_na=False,
        )
        embeddings = np.load(folder / EMBEDDINGS, mmap_mode="r", allow_pickle=False)
        entry = images["entry"].to_numpy()
        shape = (len(images), description["model"]["dim"])
    except (ValueError, KeyError, EOFError) as error:
        raise InputError(f"{folder}: the gallery is damaged ({error}); restore it from a copy") from None
    index = VectorIndex.read(folder / INDEX) if with_index else None
    wrong = embeddings.shape != shape or len(images) != description["images"]
    if index is not None:
        wrong |= index.dim != shape[1] or bool(np.any((entry < 0) | (entry >= len(index))))
    if wrong:
        raise InputError(f"{folder}: the gallery is damaged (its files do not fit together); restore it from a copy")
    return State(description, images, embeddings, index)


def write_state(folder: Path, state: State) -> None:
    """Write the next state of a gallery; the folder must be this process's.

    Until gallery.json has its name, the state before it is what everybody reads.

    Args:
        folder: of the gallery.
        state: with the number of the next generation.
    """
    assert state.index is not None
    generation = str(state.description["generation"])
    remove_leftovers(folder)
    present = str(read_description(folder)["generation"]) if is_gallery(folder) else ""
    _remove_generations(folder, keep=present)
    try:
        with write_aside(folder / generation / EMBEDDINGS) as aside:
            _write_rows(aside, state.embeddings)
        with write_aside(folder / generation / IMAGES) as aside:
            state.images.to_csv(aside, index=False)
        with write_aside(folder / generation / INDEX) as aside:
            state.index.write(aside)
        with write_aside(folder / DESCRIPTION) as aside:
            aside.write_text(json.dumps(state.description, indent=2, allow_nan=False) + "\n", encoding="utf-8")
    except BaseException:
        if not is_gallery(folder) or str(read_description(folder)["generation"]) != generation:
            shutil.rmtree(folder / generation, ignore_errors=True)
        raise
    _remove_generations(folder, keep=generation)


def write_reference(folder: Path, reference: np.ndarray) -> None:
    """Write the model's embeddings of fixed images, before the first state.

    Args:
        folder: of the gallery.
        reference: `[n, dim]`, see `ModelRecord`.
    """
    with write_aside(folder / REFERENCE) as aside:
        np.save(aside, reference)


def _write_rows(file: Path, rows: np.ndarray) -> None:
    # `np.save` calls a full disk "100 requested and 3 written".
    with file.open("wb") as out:
        header = {"descr": "<f4", "fortran_order": False, "shape": rows.shape}
        np.lib.format.write_array_header_1_0(out, header)
        out.write(np.ascontiguousarray(rows, "<f4").data)


def _remove_generations(folder: Path, keep: str) -> None:
    for other in folder.iterdir():
        if other.name.isdecimal() and other.name != keep and other.is_dir():
            shutil.rmtree(other)
