"""Names that users give, as text that people read: on a terminal, in tables and figures, in a spreadsheet."""

import os
import re
from typing import Union

# Control characters, ends of lines and paragraphs, halves of a surrogate pair, marks that turn the direction of
# reading, and what has no width. The joiners of Persian names and of emoji (200c, 200d) belong to the text.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@")


def _escape(letter: str) -> str:
    if "\udc80" <= letter <= "\udcff":
        # A byte of a file name (PEP 383).
        return f"\\x{ord(letter) - 0xDC00:02x}"
    return ascii(letter)[1:-1]


def visible(name: Union[str, "os.PathLike[str]"]) -> str:
    r"""Show what nobody sees in a name, such as line breaks and marks of the direction of reading, as escapes.

    It is one line. Bytes that are no UTF-8 become `\xe9` and so on; every encoding of Unicode takes the result.
    """
    return _UNSEEN.sub(lambda match: _escape(match[0]), os.fspath(name))


def figure_text(name: str) -> str:
    """Write a name so that Matplotlib draws it as it is: no formula, and in the legend whatever it begins with."""
    text = visible(name).replace("$", r"\$")
    # Matplotlib keeps a label that begins with "_" out of the legend; a space without width is there and not seen.
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


def csv_cell(name: str) -> str:
    """Make a name a cell that no spreadsheet takes for a formula: `visible`, after an apostrophe where it needs one."""
    return "'" * name.startswith(_FORMULA) + visible(name)


def is_unicode(name: str) -> bool:
    """Tell whether UTF-8 can be made of a name: not where its bytes on the disk are none."""
    return not re.search("[\ud800-\udfff]", name)


def visible_if_needed(name: str) -> str:
    """Give a name as it is where a file can hold it, and else as `visible` shows it."""
    return name if is_unicode(name) else visible(name)
