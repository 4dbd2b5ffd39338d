"""A new set of some images of stored ones, in which several identities may have become one."""

import hashlib
from collections.abc import Collection, Generator
from pathlib import Path
from typing import Any, Union

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import map_in_order
from ddl_tf.data.layout import INDEX_COLUMNS
from ddl_tf.data.store import Faces
from ddl_tf.importers.source import Problem, Sample, Source


def identity_names(faces: Faces) -> np.ndarray:
    """Name the identity of every image, `[images]` text: its key, with its number where two sets use a key."""
    names, identities = faces.index["identity_key"].astype(str), faces.index["identity"]
    shared = identities.groupby(names).transform("nunique") > 1
    return names.where(~shared, names + " (identity " + identities.astype(str) + ")").to_numpy()


def merged_names(faces: Faces, column: str) -> np.ndarray:
    """Name the identity of every image after those are merged that a column of the index says to merge.

    Args:
        faces: the sets.
        column: of text: the identity that the image's identity is a part of; empty if it is none's.

    Raises:
        InputError: if there is no such column, or it names an identity that the sets do not have.
    """
    names = identity_names(faces)
    if column not in faces.index:
        raise InputError(f"the index has no column {column!r}: run `python -m ddl_tf.mine clean --model=...` first")
    wanted = faces.index[column].fillna("").astype(str).to_numpy()
    merged = wanted != ""
    unknown = np.setdiff1d(wanted[merged], names)
    if len(unknown):
        raise InputError(
            f"the column {column!r} names the identity {str(unknown[0])!r}, which is not in these sets: give the sets "
            "that were cleaned together, or clean them again"
        )
    return np.where(merged, wanted, names)


def selected_source(faces: Faces, rows: np.ndarray, names: np.ndarray, without: Collection[str] = ()) -> Source:
    """Give some images of stored sets to the writer of a new one, their bytes untouched.

    Args:
        faces: the sets.
        rows: `[n]` int, the positions of the images in the index.
        names: `[images]` text, the identity of each image of the sets.
        without: columns of the index that the new set does not have.

    Returns:
        The samples, with their groups, the other columns and `source_row`, the position.

    Raises:
        InputError: if there are no rows.
    """
    rows = np.asarray(rows, np.int64)
    if not len(rows):
        raise InputError("no image is selected: loosen the rule")
    left_out = {*INDEX_COLUMNS, *without, "source_row"}
    columns = {
        str(name): faces.index[name].astype(object).where(faces.index[name].notna(), None).to_numpy()
        for name in faces.index
        if name not in left_out
    }
    group = faces.index["group"].to_numpy(np.int64)
    shards = faces.index["shard"].to_numpy(np.int64)

    def sample(row: int) -> Union[Sample, Problem]:
        place = f"{faces.shards[shards[row]]}, row {row}"
        values: dict[str, Any] = {name: values[row] for name, values in columns.items()}
        (encoded,) = faces.read(np.array([row]))
        return Sample(encoded, str(names[row]), place, int(group[row]), {**values, "source_row": row})

    def read(start: int) -> Generator[Union[Sample, Problem], None, None]:
        return map_in_order(sample, rows[start:].tolist())

    # What was stored of other rows or identities must not be gone on with.
    digest = hashlib.sha256(rows.tobytes() + pd.util.hash_array(names[rows].astype(object)).tobytes())
    folders = ", ".join(dict.fromkeys(str(Path(shard).parent) for shard in faces.shards))
    return Source("selected", f"{folders}, {len(rows)} rows ({digest.hexdigest()[:12]})", len(rows), read)
