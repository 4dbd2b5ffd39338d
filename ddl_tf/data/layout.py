"""The stored form of a set of faces.

A stored set is a folder:

- `shard-00000.tfrecord`, ...: each record a `tf.train.Example` with `image` (encoded bytes), `identity` and `group`;
- `index.parquet`: one row for each image, with `shard`, `offset` and `length` of its serialized Example (without the
  framing of TFRecord), `identity`, `group`, `identity_key` (its name in the source, text), and further columns;
- `dataset.json`: what it is, how it was made, and which columns were mined since;
- `problems.csv`: what could not be stored, and why;
- for a verification set `pairs.parquet`;
- `mended.csv`, if images were lost since: their rows and places, and which images stand for them.
"""

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq

from ddl_tf.errors import InputError

FORMAT_VERSION = 1
DESCRIPTION, INDEX, PROBLEMS, PAIRS = "dataset.json", "index.parquet", "problems.csv", "pairs.parquet"
MENDED = "mended.csv"
# TFRecord frames a record by its length and a checksum before, and a checksum after it.
HEADER_BYTES, FOOTER_BYTES = 12, 4
INDEX_COLUMNS = ("shard", "offset", "length", "identity", "group", "identity_key")


def shard_name(number: int) -> str:
    """Name the file of a shard."""
    return f"shard-{number:05d}.tfrecord"


def read_description(path: Path) -> dict[str, Any]:
    """Read the description of a stored set.

    Args:
        path: folder of the set.

    Returns:
        The content of `dataset.json`.

    Raises:
        InputError: if the folder is no stored set, or one of a later format.
    """
    file = Path(path) / DESCRIPTION
    try:
        description = json.loads(file.read_text())
        version = description["format_version"]
        missing = {"images", "identities", "shards"} - description.keys() if version == FORMAT_VERSION else ()
        if missing:
            raise KeyError(*sorted(missing))
    except OSError as error:
        hint = " (its import is not finished: run it again)" if Path(f"{path}.partial").is_dir() else ""
        raise InputError(
            f"{path}: not a stored set{hint}, {DESCRIPTION} cannot be read ({error.strerror}); "
            "make one with `python -m ddl_tf.prepare`"
        ) from None
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{file}: not the description of a stored set ({error!r}); prepare the set again") from None
    if version != FORMAT_VERSION:
        raise InputError(
            f"{file}: format version {version}, but this ddl_tf reads version {FORMAT_VERSION}; prepare the set again"
        )
    return description


def group_is_mined(description: dict[str, Any]) -> bool:
    """Tell whether the groups of a set were made after its import, so that its records have others than its index.

    Args:
        description: as `read_description` gives it.

    Returns:
        True if a command wrote the column `group` of the index.
    """
    return any("group" in step["columns"] for step in description.get("mined", []))


def read_table(file: Path) -> pd.DataFrame:
    """Read a Parquet table of a stored set.

    Args:
        file: the table.

    Returns:
        Its rows. One column at a time is read: the table is not in memory twice.

    Raises:
        InputError: if it is missing or damaged.
    """
    try:
        with pq.ParquetFile(file) as parquet:
            # What Arrow gives may be memory of its own, in which nothing can be changed.
            columns = {
                name: parquet.read([name]).column(name).to_pandas().copy() for name in parquet.schema_arrow.names
            }
    except (OSError, pa.ArrowException) as error:
        raise InputError(f"{file}: cannot be read ({' '.join(str(error).split())}); prepare the set again") from None
    return pd.DataFrame(columns, copy=False)
