"""CSV files that list images."""

import csv
import itertools
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.importers.source import MAX_GROUP, Value

# Millions of lines as lists of Python text would take gigabytes: so many at a time, then as Arrow's text.
_CHUNK = 2**16
_TEXT = "string[pyarrow]"


class Table(NamedTuple):
    """A CSV file.

    Attributes:
        cells: one row for each line, the required columns as text, the others as numbers where all their cells are.
        lines: `[rows]` int64, the line number of each row.
    """

    cells: pd.DataFrame
    lines: np.ndarray


def read_csv(path: Path, required: Sequence[str], text: Sequence[str] = ()) -> Table:
    """Read a CSV file with a header line.

    Args:
        path: the file, UTF-8.
        required: columns that it must have; they stay text, so that identity 007 is not identity 7.
        text: columns that stay text too, where the file has them.

    Returns:
        Its rows. An empty cell in a column of numbers is NaN. A column with a whole number that would not be stored as
        it is (beyond 64 bits; beyond 15 digits, among fractions or empty cells) is text.

    Raises:
        InputError: if it cannot be read, a column is missing, or a line has too few or too many cells.
    """
    require_regular_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            _check_header(path, header, required)
            rows = _rows(path, reader, len(header))
            lines, chunks = [np.empty(0, np.int64)], [pd.DataFrame(columns=header, dtype=_TEXT)]
            while chunk := list(itertools.islice(rows, _CHUNK)):
                numbers, texts = zip(*chunk)
                lines.append(np.array(numbers, np.int64))
                chunks.append(pd.DataFrame(texts, columns=header, dtype=_TEXT))
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    cells = pd.concat(chunks, ignore_index=True)
    for name in header:
        if name not in required and name not in text:
            cells[name] = _as_numbers(cells[name])
    return Table(cells, np.concatenate(lines))


def _check_header(path: Path, header: list[str], required: Sequence[str]) -> None:
    named = f"the first line names {', '.join(header) or 'none'}"
    for name in required:
        if name not in header:
            raise InputError(f"{path}: there is no column {name!r}, {named}")
    if len(set(header)) < len(header):
        raise InputError(f"{path}: two columns have one name, {named}")


def _rows(path: Path, reader: Any, width: int) -> Iterator[tuple[int, list[str]]]:
    """The lines that are not empty, with their numbers."""
    for cells in reader:
        if cells and len(cells) != width:
            raise InputError(f"{path}, line {reader.line_num}: {len(cells)} cells under {width} column names")
        if cells:
            yield reader.line_num, cells


def _as_numbers(column: pd.Series) -> pd.Series:
    pieces: list[np.ndarray] = [np.empty(0, np.int64)]
    try:
        for begin in range(0, len(column), _CHUNK):
            filled = column.iloc[begin : begin + _CHUNK].to_numpy(object)
            filled[filled == ""] = np.nan
            pieces.append(pd.to_numeric(filled))
    except (ValueError, TypeError, OverflowError):
        return column
    # Whole numbers beyond 64 bits are objects or unsigned; float64 keeps those of 15 digits.
    if not all(piece.dtype in (np.int64, np.float64) for piece in pieces):
        return column
    numbers = np.concatenate(pieces)
    if numbers.dtype == np.float64 and column.str.fullmatch("[+-]?[0-9]{16,}").any():
        return column
    return pd.Series(numbers)


def rows_of(table: Table) -> Callable[[int], dict[str, Value]]:
    """Give a function from the number of a row to its cells, by name of the column."""
    # Rows of numbers as Python objects would take many times the memory.
    columns = {
        str(name): cells.array if cells.dtype == _TEXT else cells.to_numpy() for name, cells in table.cells.items()
    }

    def row(number: int) -> dict[str, Value]:
        cells = ((name, column[number]) for name, column in columns.items())
        return {name: cell.item() if isinstance(cell, np.generic) else cell for name, cell in cells}

    return row


def take_groups(path: Path, table: Table) -> np.ndarray:
    """Take the column `group` out of a table.

    Args:
        path: the file, for messages.
        table: what was read from it.

    Returns:
        `[rows]` int64, -1 for all where there is no such column.

    Raises:
        InputError: if a group is not a whole number from -1 to `MAX_GROUP`.
    """
    if "group" not in table.cells:
        return np.full(len(table.cells), -1)
    column = table.cells.pop("group").to_numpy()
    numbers = np.asarray(pd.to_numeric(column, errors="coerce"), np.float64)
    good = (numbers >= -1) & (numbers <= MAX_GROUP) & (numbers == np.floor(numbers))
    if not good.all():
        first = int(np.argmin(good))
        raise InputError(
            f"{path}, line {table.lines[first]}: group {column.tolist()[first]!r}: use 0 (teacher, easy), "
            f"1 to {MAX_GROUP} (students, hard) or -1 (none)"
        )
    return numbers.astype(np.int64)
