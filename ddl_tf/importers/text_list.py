"""Text files that list something, from anybody: UTF-8 with or without its mark, else one line that says where not."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file

# MegaFace's million lines are 40 MB.
_MOST_BYTES = 1 << 30
_MOST_DIGITS = 18
_SHOWN = 60
_UTF_16 = (b"\xff\xfe", b"\xfe\xff")


def read_text_list(path: Union[str, Path]) -> list[str]:
    """Read the lines of a text file in UTF-8, with or without the mark at its beginning."""
    file = require_regular_file(path)
    if file.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: {file.stat().st_size:,} bytes, where a list has less than {_MOST_BYTES:,}")
    data = file.read_bytes()
    if data.startswith(_UTF_16) or b"\0" in data:
        raise _no_text(path, data, max(data.find(b"\0"), 0), "UTF-16, or no text")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Without the mark the error counts from behind it.
        raise _no_text(path, data[len(data) - len(error.object) :], error.start, "not UTF-8") from None
    lines = re.split("\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def numbered_lines(path: Union[str, Path]) -> Iterator[tuple[int, str]]:
    """Read the lines of a list with their numbers, from 1, without space at their ends; empty ones are left out."""
    return ((number, line.strip()) for number, line in enumerate(read_text_list(path), 1) if line.strip())


def _no_text(path: Union[str, Path], data: bytes, position: int, what: str) -> InputError:
    lines = re.split(b"\r\n|\r|\n", data[:position])
    line = lines[-1][-_SHOWN:] + re.split(b"[\r\n]", data[position : position + _SHOWN + 1], maxsplit=1)[0]
    # As it is written in Python: nothing in it can upset a terminal.
    shown = repr(line if len(line) <= _SHOWN else line[: _SHOWN - 3] + b"...")[1:]
    return InputError(f"{path}, line {len(lines)}: {shown} is {what}; save the list as UTF-8")


def quoted(line: str) -> str:
    """Quote a line of a list for a message: a long one is cut, and what cannot be seen is escaped."""
    return repr(line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "...")


def whole_number(text: str) -> Optional[int]:
    """Read a number of a list: 0, 7, 0007; None for anything else, and for more than 18 digits.

    `int` and `isdigit` take more: digits of other scripts, superscripts, `1_000`, thousands of digits.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
