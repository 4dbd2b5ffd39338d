"""Columns and groups that are written into the index of stored sets."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder, write_aside
from ddl_tf.data.layout import INDEX, INDEX_COLUMNS, LOCK, read_description, write_description
from ddl_tf.data.store import Faces


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
        if name in INDEX_COLUMNS and name != "group":
            raise InputError(f"the column {name!r} says where an image is and whose: it cannot be replaced")
        if len(values) != len(faces):
            raise ValueError(f"column {name!r} has {len(values)} values for {len(faces)} images")
    record = {**made_by, "ddl_tf": ddl_tf.__version__, "columns": list(columns)}
    for path, (start, end) in zip(map(Path, faces.paths), faces.spans):
        with lock_folder(path, LOCK):
            description = read_description(path)
            mined = description.setdefault("mined", [])
            # The same command again after a kill is one mining.
            if not mined or mined[-1] != json.loads(json.dumps(record)):
                mined.append(record)
                # Recorded first: a reader of the set after a kill in between sees that its groups are mined.
                write_description(path, description)
            _write_index(path / INDEX, {name: np.asarray(values[start:end]) for name, values in columns.items()})
            before = description.get("columns", pq.read_schema(path / INDEX).names)
            description["columns"] = list(dict.fromkeys([*before, *columns]))
            if "group" in columns:
                numbers, counts = np.unique(columns["group"][start:end], return_counts=True)
                description["groups"] = {str(number): int(count) for number, count in zip(numbers, counts)}
            write_description(path, description)


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


def sets_record(faces: Faces) -> list[dict[str, Optional[Any]]]:
    """Describe stored faces for the record of what was made of them: folder, number of images and bytes of each set."""
    length = faces.index["length"].to_numpy(np.int64)
    return [
        {"set": str(Path(path).resolve()), "images": end - start, "bytes": int(length[start:end].sum())}
        for path, (start, end) in zip(faces.paths, faces.spans)
    ]


def columns_table(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    """Tabulate what a person needs to choose thresholds: how columns `[images]` are distributed."""
    shares = (0, 0.05, 0.25, 0.5, 0.75, 0.95, 1)
    rows = []
    for name, values in columns.items():
        numbers = values[~np.isnan(values)].astype(float)
        quantiles = [f"{value:.4g}" for value in np.quantile(numbers, shares)] if len(numbers) else [""] * len(shares)
        rows.append([name, len(numbers), *quantiles])
    return pd.DataFrame(rows, columns=["column", "images", *(f"{share:.0%}" for share in shares)])
