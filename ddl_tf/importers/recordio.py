"""InsightFace's RecordIO sets (`.rec`, `.idx`, `property`), without MXNet.

A record is the magic number, a word with its length (29 bits) and what part of a record it is (3 bits), the content,
and padding to 4 bytes. Where the content has the magic number at a multiple of 4 bytes, it is cut there into parts, and
the magic number itself is left out. The content of a record is a header (flag, label, two ids), `flag` further float32
labels, and the image.

References:
    https://mxnet.apache.org/versions/1.9.1/api/architecture/note_data_loading
"""

import os
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO, Optional, Union

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.importers.csv_files import read_csv, rows_of, take_groups
from ddl_tf.importers.recordio_index import DAMAGED, MAGIC_BYTES, check_offsets, read_offsets, read_property, spread
from ddl_tf.importers.source import Problem, Sample, Source, Value

(_MAGIC,) = struct.unpack("<I", MAGIC_BYTES)
_WHOLE, _FIRST, _MIDDLE, _LAST = range(4)
_HEADER = struct.Struct("<IfQQ")
_SMALL_WINDOW, _WINDOW = 2**12, 2**20


def _read_part(file: BinaryIO) -> tuple[int, bytes]:
    head = file.read(8)
    if len(head) < 8:
        raise ValueError("the file ends before it")
    magic, word = struct.unpack("<II", head)
    if magic != _MAGIC:
        raise ValueError(f"no record begins at byte {file.tell() - 8:,}")
    length = word & (1 << 29) - 1
    if length > _WINDOW:
        # Else each of many lengths that lie would have the rest of the file read.
        begin = file.tell()
        left = file.seek(0, os.SEEK_END) - begin
        if left < length:
            raise ValueError(f"the file ends after {left:,} of its {length:,} bytes")
        file.seek(begin)
    content = file.read(length + -length % 4)
    if len(content) < length:
        raise ValueError(f"the file ends after {len(content):,} of its {length:,} bytes")
    return word >> 29, content[:length]


def read_record(file: BinaryIO) -> bytes:
    """Read the content of the record that begins where the file stands; a `ValueError` says why there is none."""
    part, content = _read_part(file)
    if part == _WHOLE:
        return content
    if part != _FIRST:
        raise ValueError("it is a later part of another record")
    parts = [content]
    while part != _LAST:
        part, content = _read_part(file)
        if part not in (_MIDDLE, _LAST):
            raise ValueError("its last part is missing")
        parts.append(content)
    return MAGIC_BYTES.join(parts)


def unpack_record(content: bytes) -> tuple[np.ndarray, bytes]:
    """Take a record apart: labels `[flag]` float32 (`[1]` if the flag is 0), and the encoded image, if it is whole."""
    if len(content) < _HEADER.size:
        raise ValueError(f"its {len(content)} bytes are too few for a header")
    flag, label, _, _ = _HEADER.unpack_from(content)
    if not flag:
        return np.array([label], np.float32), content[_HEADER.size :]
    begin = _HEADER.size + 4 * flag
    if len(content) < begin:
        raise ValueError(f"its header has fewer than the {flag} labels that it tells of")
    return np.frombuffer(content, np.float32, flag, _HEADER.size), content[begin:]


def _find_magic(file: BinaryIO, position: int) -> int:
    """The next place where a record can begin, or the end of the file."""
    file.seek(position)
    window = _SMALL_WINDOW
    while words := file.read(window):
        places = np.flatnonzero(np.frombuffer(words, "<u4", len(words) // 4) == _MAGIC)
        if len(places):
            return position + 4 * int(places[0])
        position += len(words)
        window = min(2 * window, _WINDOW)
    return position


def scan_offsets(file: BinaryIO) -> np.ndarray:
    """Find the records of a file without `.idx`, one after the other: `[records]` int64 offsets in bytes.

    A damaged record is among them; the next one begins where the magic number stands again.
    """
    size = file.seek(0, os.SEEK_END)
    offsets = []
    position = previous = 0
    part = _WHOLE
    while position != size:
        file.seek(position)
        head = file.read(8)
        magic, word = struct.unpack("<II", head) if len(head) == 8 else (0, 0)
        if magic == _MAGIC:
            before, part = part, word >> 29
            if part in (_WHOLE, _FIRST) or before in (_WHOLE, _LAST):
                offsets.append(position)
            length = word & (1 << 29) - 1
            previous, position = position, position + 8 + length + -length % 4
            continue
        # Either this record is damaged or the length of the one before it, which may have led past others.
        following = _find_magic(file, previous + 4)
        if size - following < 8:
            # No record is so short: the same place would be found for ever.
            following = size
        if position < min(following, size):
            offsets.append(position)
        position, part = following, _WHOLE
    return np.array(offsets, np.int64)


class _Set:
    """The images of a set: `keys` (ascending) and `offsets` (-1: missing) `[images]`; `num_identities` or None."""

    def __init__(self, rec: Path) -> None:
        idx, properties = rec.with_suffix(".idx"), rec.with_name("property")
        with require_regular_file(rec).open("rb") as file:
            if idx.exists():
                keys, offsets = read_offsets(idx)
                check_offsets(rec, file, idx, offsets)
            else:
                offsets = scan_offsets(file)
                keys = np.arange(len(offsets))
            if not len(keys):
                raise InputError(f"{rec}: there are no records in it")
            self.keys, self.offsets, self.all_checked = keys, offsets, False
            self.num_identities: Optional[int] = None
            # What tells the number of identities, for messages.
            self.counted_by = f"{rec}, record 0"
            if keys[0] == 0:
                file.seek(offsets[0])
                self._read_record_zero(rec, file)
            if properties.exists():
                self.num_identities, self.counted_by = read_property(properties), str(properties)
            if self.num_identities:
                if self.num_identities > len(keys):
                    what = f"{self.num_identities:,} identities, and {rec} has {len(keys):,} records"
                    raise InputError(f"{self.counted_by} tells of {what}; {self.advice}")
                self.check_labels(rec, file, spread(len(self.keys)))

    @property
    def advice(self) -> str:
        """What to do about a wrong number of identities."""
        if self.counted_by.endswith("property"):
            return "correct or remove property"
        return "write the right number into a file `property` beside it, or get the set anew"

    def _read_record_zero(self, rec: Path, file: BinaryIO) -> None:
        """It tells where the images end and the headers of the identities begin; in old sets it is an image."""
        try:
            labels, image = unpack_record(read_record(file))
        except ValueError as error:
            raise InputError(f"{rec}, record 0: {error}; the file is damaged, get it anew") from None
        if len(labels) == 2 and not image:
            end_of_images, end = labels.tolist()
            if not (1 < end_of_images <= end < 2**31 and end_of_images.is_integer() and end.is_integer()):
                ends = f"images end at {end_of_images:g} and identities at {end:g}"
                raise InputError(f"{rec}, record 0: {ends}, which cannot be; get the set anew")
            if end_of_images - 1 > len(self.keys):
                raise InputError(
                    f"{rec}, record 0 tells of {int(end_of_images) - 1:,} images, and the file has {len(self.keys):,} "
                    "records; it is cut short, or another's: get it anew"
                )
            self.num_identities = int(end - end_of_images)
            wanted = np.arange(1, int(end_of_images))
            stored = np.isin(wanted, self.keys)
            offsets = np.full(len(wanted), -1, np.int64)
            offsets[stored] = self.offsets[np.isin(self.keys, wanted)]
            self.keys, self.offsets = wanted, offsets

    def _labels(self, file: BinaryIO, positions: np.ndarray) -> np.ndarray:
        """The first labels of some images, NaN where there is none."""
        labels = np.full(len(positions), np.nan)
        for row, position in enumerate(positions.tolist()):
            if self.offsets[position] >= 0:
                file.seek(self.offsets[position])
                head = file.read(8 + _HEADER.size + 4)
                if len(head) == 8 + _HEADER.size + 4 and head.startswith(MAGIC_BYTES):
                    flag, label, _, _ = _HEADER.unpack_from(head, 8)
                    labels[row] = struct.unpack_from("<f", head, 8 + _HEADER.size)[0] if flag else label
        return labels

    def check_labels(self, rec: Path, file: BinaryIO, positions: np.ndarray) -> None:
        """Refuse a number of identities that the labels do not fit: to skip those would leave out people."""
        self.all_checked = len(positions) == len(self.keys)
        count = self.num_identities or 0
        labels = self._labels(file, positions)
        labels = labels[np.isfinite(labels)]
        beyond = np.count_nonzero(labels >= count)
        if not beyond:
            return
        if labels.min() >= 1 and len(positions) < len(self.keys):
            # Perhaps they begin at 1: some do not tell, all do.
            return self.check_labels(rec, file, np.arange(len(self.keys)))
        labels_found = f"{rec}: labels {labels.min():.0f}..{labels.max():.0f}, {Path(self.counted_by).name} {count}"
        if labels.min() >= 1 and labels.max() == count:
            raise InputError(f"{labels_found}: labels begin at 1; {self.advice}")
        if beyond > max(1, DAMAGED * len(labels)):
            raise InputError(f"{labels_found}: {beyond:,} of {len(labels):,} labels are beyond it; {self.advice}")


def _read_rows(path: Path, keys: np.ndarray) -> tuple[np.ndarray, np.ndarray, Callable[[int], dict[str, Value]]]:
    """Read the CSV file: `[images]` the row of each image (-1 has none), the rows' groups and their columns."""
    table = read_csv(path, ["index"])
    groups = take_groups(path, table)
    texts = table.cells.pop("index")
    is_number = texts.str.fullmatch("[0-9]{1,18}").to_numpy(bool)
    numbers = texts.where(is_number, "-1").to_numpy(object).astype(np.int64)
    positions = np.minimum(np.searchsorted(keys, numbers), len(keys) - 1)
    known = is_number & (keys[positions] == numbers)
    if not known.all():
        row = int(np.argmin(known))
        what = f"the set has no image record {texts[row]!r}; is it this set's CSV?"
        raise InputError(f"{path}, line {table.lines[row]}: {what}")
    rows = np.arange(len(numbers))
    row_of = np.full(len(keys), -1, np.int64)
    # Of several rows of one image the first stays.
    row_of[positions[::-1]] = rows[::-1]
    twice = row_of[positions] != rows
    if twice.any():
        row = int(np.argmax(twice))
        raise InputError(f"{path}, line {table.lines[row]}: record {texts[row]} comes twice; leave one line")
    return row_of, groups, rows_of(table)


def recordio_source(rec: str, csv: Optional[str] = None) -> Source:
    """Open a RecordIO set; an `InputError` if its files cannot be read or do not fit each other.

    Args:
        rec: the `.rec` file. The files `.idx` (without it the records are found by scanning) and `property` (number of
            identities, height, width) beside it are used if they are there.
        csv: a CSV file with a line for every image: column `index` (number of the record), perhaps `group`, and further
            columns for the stored index.

    Returns:
        The samples, by number of the record.
    """
    path = Path(rec)
    opened = _Set(path)
    count = opened.num_identities
    if csv:
        row_of, groups, columns = _read_rows(Path(csv), opened.keys)

    def sample(file: BinaryIO, position: int) -> Union[Sample, Problem]:
        place = f"{path}, record {opened.keys[position]}"
        if opened.offsets[position] < 0:
            return Problem("missing record", place, "the set should have it and does not")
        if csv and row_of[position] < 0:
            return Problem("missing row", place, f"{csv} has no line for it")
        file.seek(opened.offsets[position])
        try:
            labels, image = unpack_record(read_record(file))
        except ValueError as error:
            return Problem("truncated record", place, str(error))
        label = float(labels[0])
        if label == count and not opened.all_checked:
            opened.check_labels(path, file, np.arange(len(opened.keys)))
        if not (label.is_integer() and 0 <= label < (count or np.inf)):
            allowed = f"0 to {count - 1}" if count else "0 and above"
            return Problem("label out of range", place, f"label {label:g}, where the set has {allowed}")
        known = (int(groups[row_of[position]]), columns(row_of[position])) if csv else ()
        return Sample(image, int(label), place, *known)

    def read(start: int) -> Iterator[Union[Sample, Problem]]:
        with path.open("rb") as file:
            for position in range(start, len(opened.keys)):
                yield sample(file, position)

    return Source("recordio", rec, len(opened.keys), read, range(count) if count else None)
