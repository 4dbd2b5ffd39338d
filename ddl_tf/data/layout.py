"""The files of a stored set of faces (docs/design.md; `mended.csv` is of `prepare mend`), and their readers."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file, write_aside

FORMAT_VERSION = 1
DESCRIPTION, INDEX, PROBLEMS, PAIRS = "dataset.json", "index.parquet", "problems.csv", "pairs.parquet"
MENDED = "mended.csv"
# Whoever changes a stored set has this file locked.
LOCK = ".lock"
SHARD_NAME = r"shard-\d{5,}\.tfrecord"
# TFRecord frames a record by its length and a checksum before, and a checksum after it.
HEADER_BYTES, FOOTER_BYTES = 12, 4
INDEX_COLUMNS = ("shard", "offset", "length", "identity", "group", "identity_key")


def shard_name(number: int) -> str:
    """Name the file of a shard."""
    return f"shard-{number:05d}.tfrecord"


def read_description(path: Path) -> dict[str, Any]:
    """Read the `dataset.json` of a stored set."""
    file = Path(path) / DESCRIPTION
    try:
        require_regular_file(file)
        description = json.loads(file.read_text())
        version = description["format_version"]
        if version == FORMAT_VERSION:
            if missing := {"images", "identities", "shards"} - description.keys():
                raise KeyError(*sorted(missing))
            for name, is_right in _TYPES.items():
                if name in description and not is_right(description[name]):
                    raise ValueError(f"{name} is {description[name]!r}")
            for name in description["shards"]:
                # A name that leads elsewhere would have files removed or read there.
                if not re.fullmatch(SHARD_NAME, name):
                    raise ValueError(f"{name!r} is no name of a shard")
    except OSError as error:
        hint = " (its import is not finished: run it again)" if Path(f"{path}.partial").is_dir() else ""
        raise InputError(
            f"{path}: not a stored set{hint}, {DESCRIPTION} cannot be read ({error.strerror}); "
            "make one with `python -m ddl_tf.prepare`"
        ) from None
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise InputError(f"{file}: not the description of a stored set ({error!r}); prepare the set again") from None
    if version != FORMAT_VERSION:
        reads = f"this ddl_tf reads version {FORMAT_VERSION}"
        raise InputError(f"{file}: format version {version}, but {reads}; prepare the set again")
    return description


def write_description(path: Path, description: dict[str, Any]) -> None:
    """Write the `dataset.json` of a stored set."""
    with write_aside(path / DESCRIPTION) as aside:
        aside.write_text(json.dumps(description, indent=2) + "\n")


def _are_sizes(value: Any) -> bool:
    sizes: list[Any] = [value.get("smallest"), value.get("largest")] if isinstance(value, dict) else [None]
    are_lists = all(isinstance(size, list) and len(size) == 2 for size in sizes)
    return not value or (are_lists and all(type(side) is int and side > 0 for size in sizes for side in size))


_TYPES: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(("images", "identities"), lambda value: type(value) is int and value >= 0),
    "shards": lambda value: isinstance(value, dict),
    "columns": lambda value: isinstance(value, list) and all(isinstance(name, str) for name in value),
    "image_size": _are_sizes,
    # Each step of mining names the columns that it made.
    "mined": lambda value: (
        isinstance(value, list)
        and all(isinstance(step, dict) and isinstance(step.get("columns"), list) for step in value)
    ),
    "made_by": lambda value: isinstance(value, dict) and isinstance(value.get("settings", {}), dict),
}


def read_table(file: Path) -> pd.DataFrame:
    """Read a Parquet table of a stored set, column by column, so that it is not in memory twice."""
    try:
        require_regular_file(file)
        with pq.ParquetFile(file) as parquet:
            columns = {}
            for name in parquet.schema_arrow.names:
                column = parquet.read([name]).column(name)
                # Text that is no UTF-8 is reported here, not where it is first used.
                column.validate(full=True)
                # What Arrow gives may be memory of its own, in which nothing can be changed.
                columns[name] = column.to_pandas().copy()
    except (OSError, ValueError, pa.ArrowException) as error:  # ValueError: names that are no UTF-8
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())}); prepare the set again") from None
    return pd.DataFrame(columns, copy=False)
