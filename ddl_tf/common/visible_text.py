"""Names as people can read them: nothing in one moves a cursor, turns the line around, or runs in a spreadsheet."""

import os
import unicodedata
from typing import Union

# Left-to-right and right-to-left marks, embeddings, overrides and isolates.
_DIRECTIONS = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")
# Control characters, surrogates, ends of lines and of paragraphs.
_CATEGORIES = frozenset(["Cc", "Cs", "Zl", "Zp"])
# What a spreadsheet takes for the beginning of a formula.
_FORMULA = ("=", "+", "-", "@")


def visible(name: Union[str, "os.PathLike[str]"]) -> str:
    r"""Escape what cannot be seen in a name, as Python writes it.

    Args:
        name: of a person or a file.

    Returns:
        The name, with control characters, direction marks, ends of lines and bytes that are no UTF-8 as `\n`, `\u202e`
        and so on; all else as it is.

    Example:
        >>> print(visible("anna\r\u202eben"))
        anna\r\u202eben
    """

    def escaped(letter: str) -> str:
        if 0xDC80 <= ord(letter) <= 0xDCFF:
            # A byte of a file name (PEP 383).
            return f"\\x{ord(letter) - 0xDC00:02x}"
        hidden = letter in _DIRECTIONS or unicodedata.category(letter) in _CATEGORIES
        return ascii(letter)[1:-1] if hidden else letter

    return "".join(map(escaped, os.fspath(name)))


def csv_cell(name: str) -> str:
    """Make a name a cell of a CSV file that a spreadsheet may open.

    Args:
        name: of a person or a file.

    Returns:
        It as `visible` shows it, after an apostrophe if it begins with `=`, `+`, `-` or `@`.

    Example:
        >>> csv_cell("=1+1")
        "'=1+1"
    """
    return "'" * name.startswith(_FORMULA) + visible(name)


def is_unicode(name: str) -> bool:
    r"""Tell whether a name is text: one whose bytes on the disk are no UTF-8 is not.

    Args:
        name: of a person or a file.

    Returns:
        Whether UTF-8 can be made of it.

    Example:
        >>> is_unicode("jos\udce9")
        False
    """
    try:
        name.encode()
    except UnicodeEncodeError:
        return False
    return True


def visible_if_needed(name: str) -> str:
    r"""Give a name as it is where a file can hold it, and else as `visible` shows it.

    Args:
        name: of a person or a file.

    Returns:
        A text of which UTF-8 can be made.

    Example:
        >>> visible_if_needed("jos\udce9")
        'jos\\xe9'
    """
    return name if is_unicode(name) else visible(name)
