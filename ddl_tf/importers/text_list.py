"""Text files that list something, from anybody: UTF-8 with or without its mark, else one line that says where not."""

import re
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
    require_regular_file(path)
    file = Path(path)
    if file.stat().st_size > _MOST_BYTES:
        raise InputError(f"{path}: {file.stat().st_size:,} bytes, where a list has less than {_MOST_BYTES:,}")
    data = file.read_bytes()
    if data.startswith(_UTF_16) or b"\0" in data:
        number, line = _line_at(data, max(data.find(b"\0"), 0))
        raise InputError(f"{path}, line {number}: {_shown(line)} is UTF-16, or no text; save the list as UTF-8")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        # Without the mark the error counts from behind it.
        data = data[len(data) - len(error.object) :]
        number, line = _line_at(data, error.start)
        raise InputError(f"{path}, line {number}: {_shown(line)} is not UTF-8; save the list as UTF-8") from None
    lines = re.split("\r\n|\r|\n", text)
    return lines if lines[-1] else lines[:-1]


def _line_at(data: bytes, position: int) -> tuple[int, bytes]:
    lines = re.split(b"\r\n|\r|\n", data[:position])
    rest = re.split(b"[\r\n]", data[position : position + _SHOWN + 1], maxsplit=1)[0]
    return len(lines), lines[-1][-_SHOWN:] + rest


def _shown(line: bytes) -> str:
    """The bytes of a line as they are written in Python: nothing in them can upset a terminal."""
    return repr(line if len(line) <= _SHOWN else line[: _SHOWN - 3] + b"...")[1:]


def quoted(line: str) -> str:
    """Quote a line of a list for a message: a long one is cut, and what cannot be seen is escaped."""
    return repr(line if len(line) <= _SHOWN else line[: _SHOWN - 3] + "...")


def whole_number(text: str) -> Optional[int]:
    """Read a number of a list: 0, 7, 0007; None for anything else, and for more than 18 digits.

    `int` and `isdigit` take more: digits of other scripts, superscripts, `1_000`, thousands of digits.
    """
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MOST_DIGITS else None
