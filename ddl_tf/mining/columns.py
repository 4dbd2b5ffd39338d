"""Columns and groups that are written into the index of stored sets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder, write_aside
from ddl_tf.data.layout import INDEX, INDEX_COLUMNS, read_description, write_description
from ddl_tf.data.store import Faces

# What a command may replace: the group is mined, the others say where an image is and whose.
_FIXED = tuple(name for name in INDEX_COLUMNS if name != "group")


def write_columns(faces: Faces, columns: Mapping[str, np.ndarray], made_by: Mapping[str, Any]) -> None:
    """Add columns to the index of stored sets, or replace them; a column `group` makes the groups.

    The index of each set is written whole and atomically, and `dataset.json` records the command.

    Args:
        faces: the sets.
        columns: name -> `[images]`, of all sets one after the other.
        made_by: what made the columns, as JSON takes it.

    Raises:
        InputError: if a column must not be replaced, or another process changes the set.
        ValueError: if a column has not one value for each image.
    """
    for name, values in columns.items():
        if name in _FIXED:
            raise InputError(
                f"the column {name!r} of the index says where an image is and whose: it cannot be replaced"
            )
        if len(values) != len(faces):
            raise ValueError(f"column {name!r} has {len(values)} values for {len(faces)} images")
    for path, (start, end) in zip(map(Path, faces.paths), faces.spans):
        values_of_set = {name: np.asarray(values[start:end]) for name, values in columns.items()}
        with lock_folder(path, ".lock"):
            record = {**made_by, "ddl_tf": ddl_tf.__version__, "columns": list(values_of_set)}
            # Recorded first: a reader of the set after a kill in between sees that its groups are mined.
            _record(path, record)
            _write_index(path / INDEX, values_of_set)
            _describe(path, values_of_set)


def _write_index(file: Path, columns: Mapping[str, np.ndarray]) -> None:
    # In Arrow's own form: text would take many times the memory as Python objects.
    table = pq.read_table(file)
    for name, values in columns.items():
        # NaN says that there is no value, as in what pandas writes.
        column = pa.array(values, from_pandas=True)
        position = table.schema.get_field_index(name)
        table = table.append_column(name, column) if position < 0 else table.set_column(position, name, column)
    with write_aside(file) as aside:
        pq.write_table(table.replace_schema_metadata(None), aside)


def _record(path: Path, record: dict[str, Any]) -> None:
    description = read_description(path)
    mined = description.setdefault("mined", [])
    # The same command again after a kill is one mining.
    if not mined or mined[-1] != json.loads(json.dumps(record)):
        mined.append(record)
        write_description(path, description)


def _describe(path: Path, columns: Mapping[str, np.ndarray]) -> None:
    description = read_description(path)
    before = description.get("columns", pq.read_schema(path / INDEX).names)
    description["columns"] = list(dict.fromkeys([*before, *columns]))
    if "group" in columns:
        numbers, counts = np.unique(columns["group"], return_counts=True)
        description["groups"] = {str(number): int(count) for number, count in zip(numbers, counts)}
    write_description(path, description)
