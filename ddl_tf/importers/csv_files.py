"""CSV files that list images."""

import csv
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple, Optional

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from pyarrow.csv import ConvertOptions, ParseOptions, ReadOptions
from pyarrow.csv import read_csv as read_arrow

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.importers.source import MAX_GROUP, Value

# Arrow reads this much at a time, and no line may be longer.
_BLOCK_BYTES = 2**24
# Arrow itself also takes 0x10 and nan, which are rather names; an empty cell is none.
_NUMBER = r"^\s*([+-]?([0-9]+\.?[0-9]*|\.[0-9]+)(e[+-]?[0-9]+)?|[+-]?inf(inity)?)?\s*$"


class Table(NamedTuple):
    """A CSV file: the cells of its rows (text, or numbers), and the `[rows]` int64 line number of each."""

    cells: pd.DataFrame
    lines: np.ndarray


def read_csv(path: Path, required: Sequence[str], text: Sequence[str] = ()) -> Table:
    """Read a CSV file in UTF-8 with a header line, which must have the required columns.

    These, and those of `text`, stay text, so that identity 007 is not identity 7. Another column is of numbers, with
    NaN for empty cells, if all cells are numbers that come back as they are.
    """
    require_regular_file(path)
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            named = f"the first line names {', '.join(header) or 'none'}"
            for name in required:
                if name not in header:
                    raise InputError(f"{path}: there is no column {name!r}, {named}")
            if len(set(header)) < len(header):
                raise InputError(f"{path}: two columns have one name, {named}")
            header_lines = reader.line_num
            # Arrow does not number the lines.
            lines = np.fromiter(_line_numbers(path, reader, len(header)), np.int64)
        table = pa.table({name: pa.array([], pa.string()) for name in header})
        if len(lines):
            table = read_arrow(
                path,
                ReadOptions(column_names=header, skip_rows=header_lines, block_size=_BLOCK_BYTES),
                ParseOptions(newlines_in_values=True),
                ConvertOptions(column_types=dict.fromkeys(header, pa.string())),
            )
        if len(table) != len(lines):
            raise csv.Error("a quotation mark is not closed")
    except (UnicodeDecodeError, csv.Error, pa.ArrowInvalid) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    cells = {}
    for name, column in zip(header, table.columns):
        numbers = None if name in required or name in text else _as_numbers(column)
        cells[name] = pd.arrays.ArrowStringArray(column) if numbers is None else numbers
    return Table(pd.DataFrame(cells), lines)


def _line_numbers(path: Path, reader: Any, width: int) -> Iterator[int]:
    for cells in reader:
        if cells and len(cells) != width:
            raise InputError(f"{path}, line {reader.line_num}: {len(cells)} cells under {width} column names")
        if cells:
            yield reader.line_num


def _as_numbers(column: pa.ChunkedArray) -> Optional[np.ndarray]:
    if not pc.all(pc.match_substring_regex(column, _NUMBER, ignore_case=True), min_count=0).as_py():
        return None
    texts = pc.utf8_ltrim(pc.utf8_trim_whitespace(column), "+")
    filled = pc.if_else(pc.equal(texts, ""), None, texts)
    try:
        numbers = filled.cast(pa.int64())
    except pa.ArrowInvalid:
        numbers = filled.cast(pa.float64())
    # float64 keeps whole numbers of 15 digits.
    is_float = numbers.null_count or numbers.type == pa.float64()
    if is_float and pc.any(pc.match_substring_regex(filled, "^-?[0-9]{16,}$")).as_py():
        return None
    return numbers.to_numpy()


def rows_of(table: Table) -> Callable[[int], dict[str, Value]]:
    """Give a function from the number of a row to its cells, by name of the column."""
    # Rows of numbers as Python objects would take many times the memory.
    columns = {
        str(name): cells.array if isinstance(cells.dtype, pd.StringDtype) else cells.to_numpy()
        for name, cells in table.cells.items()
    }

    def row(number: int) -> dict[str, Value]:
        cells = ((name, column[number]) for name, column in columns.items())
        return {name: cell.item() if isinstance(cell, np.generic) else cell for name, cell in cells}

    return row


def take_groups(path: Path, table: Table) -> np.ndarray:
    """Take the column `group` out of the table of a file: `[rows]` int64, -1 where there is no such column."""
    if "group" not in table.cells:
        return np.full(len(table.cells), -1)
    column = table.cells.pop("group").to_numpy()
    numbers = np.asarray(pd.to_numeric(column, errors="coerce"), np.float64)
    good = (numbers >= -1) & (numbers <= MAX_GROUP) & (numbers == np.floor(numbers))
    if not good.all():
        first = int(np.argmin(good))
        what = f"line {table.lines[first]}: group {column.tolist()[first]!r}"
        raise InputError(f"{path}, {what}: use 0 (teacher, easy), 1 to {MAX_GROUP} (students, hard) or -1 (none)")
    return numbers.astype(np.int64)
