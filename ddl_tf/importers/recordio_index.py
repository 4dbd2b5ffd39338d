"""The small files beside a `.rec` file, `.idx` and `property`: what they say, and whether it fits."""

import codecs
import io
import os
import re
import struct
from pathlib import Path
from typing import BinaryIO

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.common.text import visible

# What every record begins with.
MAGIC_BYTES = struct.pack("<I", 0xCED7230A)
# So many, evenly spread, are looked at before the work.
_LOOKED_AT = 4096
# A few damaged records are skipped; where more than this share is wrong, the files do not fit each other.
DAMAGED = 0.1


def read_offsets(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Read an `.idx` file: `[records]` int64 numbers of the records, ascending, and their offsets in bytes."""
    advice = "without the file, the records are found by scanning"
    content = require_regular_file(path).read_bytes().removeprefix(codecs.BOM_UTF8)
    if not content.strip():
        raise InputError(f"{path}: it is empty; {advice}")
    foreign = content.translate(None, b"0123456789 \t\r\n")
    # NumPy would take 1.5 for 1, and what has more digits than an int64 for any number.
    if foreign or re.search(rb"\d{19}", content):
        what = f"it holds {chr(foreign[0])!r}" if foreign else "a number has more than 18 digits"
        raise InputError(f"{path}: not lines of a record number and an offset ({what}); {advice}")
    try:
        lines = np.loadtxt(io.BytesIO(content), np.int64, comments=None, ndmin=2)
        if lines.shape[1] != 2:
            raise ValueError(f"{lines.shape[1]} columns")
    except ValueError as error:
        raise InputError(f"{path}: not lines of a record number and an offset ({error}); {advice}") from None
    keys, first = np.unique(lines[:, 0], return_index=True)
    if len(keys) < len(lines):
        twice = np.delete(lines[:, 0], first)[0]
        raise InputError(f"{path}: record {twice} comes twice; {advice}")
    return keys, lines[first, 1]


def spread(count: int) -> np.ndarray:
    """Choose positions of `count`, ascending: all of a few, and at most `_LOOKED_AT` of many, evenly spread."""
    return np.unique(np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(np.int64))


def check_offsets(rec: Path, file: BinaryIO, idx: Path, offsets: np.ndarray) -> None:
    """Refuse an `.idx` file of another `.rec` file: more than a few of its offsets hit no record."""
    if len(np.unique(offsets)) < len(offsets):
        raise InputError(f"{idx}: two records have one offset; remove it, then the records are found by scanning")
    looked_at = offsets[spread(len(offsets))]
    missed = 0
    size = file.seek(0, os.SEEK_END)
    for offset in looked_at.tolist():
        file.seek(min(offset, size))
        missed += file.read(4) != MAGIC_BYTES
    if missed > max(1, DAMAGED * len(looked_at)):
        what = f"{missed:,} of {len(looked_at):,} offsets hit no record"
        raise InputError(f"{idx} does not fit {rec}: {what}; remove it, then the records are found by scanning")


def read_property(path: Path) -> int:
    """Read the number of identities from the file `property`."""
    with require_regular_file(path).open("rb") as file:
        text = file.read(1000).removeprefix(codecs.BOM_UTF8).split(b",")[0].strip()
    if not re.fullmatch(rb"[0-9]{1,18}", text) or not int(text):
        shown = visible(text[:30].decode("utf-8", "surrogateescape"))
        raise InputError(f"{path}: {shown!r} is not the number of identities; correct or remove the file")
    return int(text)
