"""A line of LFW's list of pairs, and of the many lists made like it."""

from pathlib import Path
from typing import NamedTuple, Optional

from ddl_tf.importers.text_list import quoted, whole_number


class LFWPair(NamedTuple):
    """A pair as a list of LFW's form names it: two images of a person each."""

    first: str
    first_number: int
    second: str
    second_number: int
    same: bool


def parse_lfw_line(line: str) -> Optional[LFWPair]:
    """Read a line `name i j` (the same person) or `name1 i name2 j` (different ones); None if it is neither."""
    parts = line.split()
    if len(parts) not in (3, 4):
        return None
    first, second = parts[0], parts[0] if len(parts) == 3 else parts[2]
    numbers = whole_number(parts[1]), whole_number(parts[-1])
    if numbers[0] is None or numbers[1] is None or not is_plain_name(first) or not is_plain_name(second):
        return None
    return LFWPair(first, numbers[0], second, numbers[1], len(parts) == 3)


def malformed(line: str) -> str:
    """Say that a line is not of LFW's form, for a list of problems."""
    return f"{quoted(' '.join(line.split()))} is not `name i j` or `name1 i name2 j`"


def is_plain_name(name: str) -> bool:
    """Whether a name is that of one file or folder, and does not lead elsewhere."""
    return Path(name).name == name and name not in (".", "..")
