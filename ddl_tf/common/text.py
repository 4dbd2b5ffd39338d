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

    Args:
        name: of a person or a file, or any other text.

    Returns:
        It on one line, with escapes as Python writes them, and of bytes that are no UTF-8 `\xe9` and so on; every
        encoding of Unicode takes it.

    Example:
        >>> print(visible("anna\r\u202eben"))
        anna\r\u202eben
    """
    return _UNSEEN.sub(lambda found: _escape(found[0]), os.fspath(name))


def figure_text(name: str) -> str:
    r"""Write a name so that Matplotlib draws it as it is: no formula, and in the legend whatever it begins with.

    Args:
        name: any.

    Returns:
        The text for a title, a legend, a label or a tick.

    Example:
        >>> print(figure_text(r"$\alpha$"))
        \$\alpha\$
    """
    text = visible(name).replace("$", r"\$")
    # Matplotlib keeps a label that begins with "_" out of the legend; a space without width is there and not seen.
    return f"\N{ZERO WIDTH SPACE}{text}" if text.startswith("_") else text


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
