"""Reading a stored set of faces at random."""

import errno
import hashlib
import os
import struct
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
from pandas.api.types import is_integer_dtype

from ddl_tf.common.errors import InputError
from ddl_tf.data import layout
from ddl_tf.data.example import read_example, upright_record
from ddl_tf.data.layout import FOOTER_BYTES, HEADER_BYTES, INDEX, shard_name
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.importers.image_files import LazyImages

# What a network file system may get over, and how long to wait before each further try.
_TRANSIENT = (errno.EIO, errno.ESTALE, errno.ETIMEDOUT, errno.ENOTCONN)
RETRY_SECONDS = (1.0, 2.0, 4.0, 8.0, 16.0, 32.0)

# The smallest value of each column of numbers of an index, and the largest of all: a sum of two is a number of 64 bits.
_SMALLEST = {"shard": 0, "offset": HEADER_BYTES, "length": 1, "identity": 0, "group": -1}
_LARGEST = 2**62


def _read_index(path: Path) -> pd.DataFrame:
    index = layout.read_table(path / INDEX)
    for name in layout.INDEX_COLUMNS:
        if name not in index:
            raise InputError(f"{path / INDEX}: the column {name!r} is missing; prepare the set again")
    if not len(index):
        raise InputError(f"{path / INDEX}: the set has no images; prepare the set again")
    for name, smallest in _SMALLEST.items():
        column = index[name]
        if not is_integer_dtype(column) or column.min() < smallest or column.max() > _LARGEST:
            raise InputError(f"{path / INDEX}: the column {name!r} has values that no set has; prepare the set again")
    return index


class Faces:
    """One or several stored sets, opened as one and read at random.

    Only the index is in memory. Any number of threads can read at a time. Reading tries again for about a minute after
    errors that a network file system may get over, and reports them on stderr.

    Args:
        paths: folders of the sets. The identities of a set follow those of the sets before it: no identity is in two.

    Attributes:
        paths: the folders of the sets.
        spans: for each set, the position of its first image in `index`, and that after its last.
        index: one row for each image, in the order of the records; `shard` is a position in `shards`.
        shards: the paths of the shards of all sets.
        num_identities: the number of identities, 0 to `num_identities - 1`.
        image_size: `(height, width)` in pixels of every image; None if they differ.

    Raises:
        InputError: if a set is missing or damaged, or the index does not fit the shards.
    """

    def __init__(self, paths: Sequence[str]) -> None:
        if not paths:
            raise InputError("no stored set is given: name its folder, or make one with `python -m ddl_tf.prepare`")
        self.paths = list(paths)
        self.spans: list[tuple[int, int]] = []
        self.shards: list[str] = []
        self.num_identities = 0
        sizes: set[Optional[tuple[int, int]]] = set()
        tables = []
        for number, path in enumerate(map(Path, paths)):
            if path.resolve() in [Path(earlier).resolve() for earlier in paths[:number]]:
                raise InputError(f"{path}: the set is given twice; its identities would count as different people")
            description = layout.read_description(path)
            index = _read_index(path)
            self._check_shards(path, index)
            index["identity"] = index["identity"].astype(np.int64) + self.num_identities
            index["shard"] = index["shard"].astype(np.int64) + len(self.shards)
            self.num_identities += int(description["identities"])
            self.shards += [str(path / shard_name(number)) for number in range(len(description["shards"]))]
            if index["identity"].max() >= self.num_identities or index["shard"].max() >= len(self.shards):
                raise InputError(f"{path / INDEX}: does not fit {layout.DESCRIPTION} beside it; prepare the set again")
            start = self.spans[-1][1] if self.spans else 0
            self.spans.append((start, start + len(index)))
            tables.append(index)
            size = description.get("image_size")
            sizes.add(tuple(size["largest"]) if size and size["smallest"] == size["largest"] else None)
        self.image_size = sizes.pop() if len(sizes) == 1 else None
        # `concat` would copy even a single table.
        self.index = pd.concat(tables, ignore_index=True) if len(tables) > 1 else tables[0]
        self._places = [self.index[name].to_numpy(np.int64) for name in ("shard", "offset", "length")]
        self._files: dict[int, int] = {}
        self._stale: list[int] = []
        self._lock = threading.Lock()

    @staticmethod
    def _check_shards(path: Path, index: pd.DataFrame) -> None:
        ends = (index["offset"] + index["length"]).groupby(index["shard"]).max() + FOOTER_BYTES
        for number, end in zip(ends.index.tolist(), ends.tolist()):
            file = path / shard_name(number)
            try:
                size = file.stat().st_size
            except OSError as error:
                raise InputError(f"{file}: {error.strerror}, but the index names it; prepare the set again") from None
            if size < end:
                raise InputError(f"{file}: truncated, {size:,} bytes, the index needs {end:,}; prepare the set again")

    def __len__(self) -> int:
        return len(self.index)

    def _file(self, shard: int) -> int:
        with self._lock:
            if shard not in self._files:
                self._files[shard] = os.open(self.shards[shard], os.O_RDONLY)
            return self._files[shard]

    def __del__(self) -> None:
        for file in (*getattr(self, "_files", {}).values(), *getattr(self, "_stale", ())):
            os.close(file)

    def _bytes(self, shard: int, length: int, place: int) -> bytes:
        waits = iter(RETRY_SECONDS)
        while True:
            try:
                return os.pread(self._files.get(shard) or self._file(shard), length, place)
            except OSError as error:
                wait = next(waits, None)
                if error.errno not in _TRANSIENT or wait is None:
                    raise OSError(error.errno, error.strerror, self.shards[shard]) from None
                print(f"{self.shards[shard]}: {error.strerror}; trying again in {wait:g} s", file=sys.stderr)
            time.sleep(wait)
            with self._lock:
                # A stale file must be opened anew; other threads may be reading it, so that it is not closed yet.
                self._stale += [self._files.pop(shard)] if shard in self._files else []

    def records(self, rows: np.ndarray) -> list[bytes]:
        """Read the serialized, upright examples of `[n]` rows of the index."""
        records = []
        for shard, offset, length in zip(*(column[rows].tolist() for column in self._places)):
            framed = self._bytes(shard, HEADER_BYTES + length, offset - HEADER_BYTES)
            if len(framed) != HEADER_BYTES + length or struct.unpack_from("<Q", framed)[0] != length:
                raise self._misfit(shard, offset)
            records.append(upright_record(framed[HEADER_BYTES:]))
        return records

    def read(self, rows: np.ndarray) -> list[bytes]:
        """Read the encoded images of `[n]` rows of the index; an `InputError` where a shard has none of the set."""
        images = []
        for row, record in zip(rows.tolist(), self.records(rows)):
            try:
                images.append(read_example(record)[0])
            except ValueError:
                shard, offset, _ = (int(column[row]) for column in self._places)
                raise self._misfit(shard, offset) from None
        return images

    def _misfit(self, shard: int, offset: int) -> InputError:
        return InputError(
            f"{self.shards[shard]}: no record of the set at byte {offset:,}, where the index has one; "
            "see `python -m ddl_tf.prepare verify`, and prepare the set again"
        )

    def fingerprint(self) -> str:
        """Identify the images by a SHA-256 of the places, sizes and times of change of their shards."""
        states = [(shard, state.st_size, state.st_mtime_ns) for shard in self.shards for state in [os.stat(shard)]]
        return hashlib.sha256(repr(states).encode()).hexdigest()

    def images(self, rows: Optional[Sequence[int]] = None) -> LazyImages:
        """The encoded images of some rows of the index (None: of all), read one by one when they are asked for."""
        chosen = range(len(self)) if rows is None else rows
        return LazyImages(len(chosen), lambda place: self.read(np.array([chosen[place]]))[0], self.fingerprint)

    def image(self, row: int) -> np.ndarray:
        """Decode one image: uint8 `[height, width, 3]`, RGB."""
        (encoded,) = self.read(np.array([row]))
        try:
            return decode_image(encoded)
        except ValueError as error:
            raise InputError(f"{self.shards[self.index['shard'][row]]}: image of row {row}: {error}") from None
