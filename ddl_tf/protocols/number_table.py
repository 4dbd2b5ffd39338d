"""Long text files of numbers in columns, read fast; and which lines of them are malformed."""

from array import array
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pyarrow as pa
from pyarrow import csv

from ddl_tf.common.files import require_regular_file
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.importers.text_list import quoted

# Of a file that is something else altogether, so many lines are listed.
_MOST_LINES = 1000
_ARROW = {"int": pa.int32(), "float": pa.float32(), "str": pa.string()}
_INT32 = 2**31


def read_number_table(
    path: Path, kinds: Mapping[str, str], problems: ProblemList, separator: str = " ", header: bool = False
) -> Optional[dict[str, np.ndarray]]:
    """Read the first columns of a text file: name -> `[lines]` int32, float32 or text; None if lines are malformed.

    `kinds` is name of a column -> "int", "float" or "str". `problems` gets every line that has too few columns, or a
    value that is no finite number in a column of numbers; without a header, more columns are too many.
    """
    require_regular_file(path)
    places = [f"f{place}" for place in range(len(kinds))]
    try:
        table = csv.read_csv(
            path,
            csv.ReadOptions(autogenerate_column_names=True, skip_rows=1 if header else 0),
            csv.ParseOptions(delimiter=separator, quote_char=False if separator == " " else '"'),
            csv.ConvertOptions(
                column_types={place: _ARROW[kind] for place, kind in zip(places, kinds.values())},
                include_columns=places if header else [],
                null_values=[],
            ),
        )
        if not header and table.num_columns != len(kinds):
            raise pa.ArrowInvalid("another number of columns")
    except (pa.ArrowInvalid, pa.ArrowKeyError):
        # It does not say all lines that are wrong; or they are fine, and parted by tabs.
        return _read_lines(path, kinds, problems, separator, header)
    columns = {
        name: np.asarray(table.column(place).to_numpy(), object if kind == "str" else None)
        for (name, kind), place in zip(kinds.items(), places)
    }
    if not all(np.isfinite(columns[name]).all() for name, kind in kinds.items() if kind == "float"):
        return _read_lines(path, kinds, problems, separator, header)
    return columns


def _parse(kind: str, text: str) -> Any:
    if kind == "str":
        return text
    # int and float take 1_000 and the digits of other scripts.
    if not text.isascii() or "_" in text:
        raise ValueError(text)
    number = int(text) if kind == "int" else float(text)
    if not abs(number) < (_INT32 if kind == "int" else np.inf):
        raise ValueError(text)
    return number


def _read_lines(
    path: Path, kinds: Mapping[str, str], problems: ProblemList, separator: str, header: bool
) -> Optional[dict[str, np.ndarray]]:
    values: dict[str, Any] = {name: [] if kind == "str" else array("d") for name, kind in kinds.items()}
    malformed = 0
    with path.open("rb") as lines:
        for number, data in enumerate(lines, 1):
            if (header and number == 1) or not data.strip():
                continue
            try:
                # The mark of UTF-8 stands at the beginning of some files.
                line = data.decode("utf-8-sig" if number == 1 else "utf-8")
                parts = line.split() if separator == " " else line.rstrip("\r\n").split(separator)
                if len(parts) < len(kinds) or (len(parts) > len(kinds) and not header):
                    raise ValueError(line)
                parsed = [_parse(kind, part) for kind, part in zip(kinds.values(), parts)]
            except ValueError:  # UnicodeDecodeError is one
                malformed += 1
                if malformed > _MOST_LINES:
                    problems.add("malformed line", f"{path}, line {number}", "and the lines after it are not listed")
                    break
                shown = quoted(data.decode("utf-8", "backslashreplace").strip())
                problems.add("malformed line", f"{path}, line {number}", f"{shown} is not `{separator.join(kinds)}`")
                continue
            for name, value in zip(kinds, parsed):
                values[name].append(value)
    if malformed:
        return None
    types: dict[str, Any] = {"int": np.int32, "float": np.float32, "str": object}
    return {name: np.array(values[name], types[kind]) for name, kind in kinds.items()}
