"""CSV files that list images."""

import csv
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from ddl_tf.data.sample import Value
from ddl_tf.errors import InputError


class Table(NamedTuple):
    """A CSV file.

    Attributes:
        cells: one row for each line, the required columns as text, the others as numbers where all their cells are.
        lines: the line number of each row.
    """

    cells: pd.DataFrame
    lines: list[int]


def read_csv(path: Path, required: Sequence[str]) -> Table:
    """Read a CSV file with a header line.

    Args:
        path: the file, UTF-8.
        required: columns that it must have; they stay text, so that identity 007 is not identity 7.

    Returns:
        Its rows. An empty cell in a column of numbers is NaN.

    Raises:
        InputError: if it cannot be read, a column is missing, or a line has too few or too many cells.
    """
    rows, lines = [], []
    try:
        with path.open(newline="", encoding="utf-8-sig") as file:
            reader = csv.reader(file)
            header = next(reader, [])
            for cells in reader:
                if cells and len(cells) != len(header):
                    raise InputError(
                        f"{path}, line {reader.line_num}: {len(cells)} cells under {len(header)} column names"
                    )
                if cells:
                    rows.append(cells)
                    lines.append(reader.line_num)
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{path}: not a CSV file in UTF-8 ({error})") from None
    for name in required:
        if name not in header:
            raise InputError(f"{path}: there is no column {name!r}, the first line names {', '.join(header) or 'none'}")
    if len(set(header)) < len(header):
        raise InputError(f"{path}: two columns have one name, the first line names {', '.join(header)}")
    cells = pd.DataFrame(rows, columns=header, dtype=object)
    for name in header:
        if name not in required:
            cells[name] = _as_numbers(cells[name])
    return Table(cells, lines)


def _as_numbers(column: pd.Series) -> pd.Series:
    filled = column.mask(column == "")
    try:
        return pd.to_numeric(filled)
    except (ValueError, TypeError):
        return column


def rows_of(table: Table) -> Callable[[int], dict[str, Value]]:
    """Give a function from the number of a row to its cells, by name of the column."""
    # Rows of numbers as Python objects would take many times the memory.
    columns = {str(name): table.cells[name].to_numpy() for name in table.cells}

    def row(number: int) -> dict[str, Value]:
        cells = ((name, column[number]) for name, column in columns.items())
        return {name: cell.item() if isinstance(cell, np.generic) else cell for name, cell in cells}

    return row


def take_groups(path: Path, table: Table) -> list[int]:
    """Take the column `group` out of a table, -1 for all where there is none.

    Raises:
        InputError: if a group is not a whole number from -1 on.
    """
    if "group" not in table.cells:
        return [-1] * len(table.cells)
    groups = table.cells.pop("group")
    for line, group in zip(table.lines, groups):
        if not (isinstance(group, (int, float)) and group >= -1 and group == int(group)):
            raise InputError(
                f"{path}, line {line}: group {group!r}: use 0 (teacher, easy), 1.. (students, hard) or -1 (none)"
            )
    return [int(group) for group in groups]
