"""Names that users give, as text that people read: on a terminal, in tables, in figures."""

import re

# Control characters, ends of lines and paragraphs, halves of a surrogate pair, marks that turn the direction of
# reading, and what has no width. The joiners of Persian names and of emoji (200c, 200d) belong to the text.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060\u2066-\u2069\ufeff\ufff9-\ufffb\ud800-\udfff]"
)
_SHORT = {"\n": r"\n", "\r": r"\r", "\t": r"\t"}


def _escape(letter: str) -> str:
    number = ord(letter)
    return _SHORT.get(letter) or (f"\\x{number:02x}" if number < 256 else f"\\u{number:04x}")


def visible(text: str) -> str:
    r"""Show what nobody sees in a text, such as line breaks and marks of the direction of reading, as escapes.

    Args:
        text: any.

    Returns:
        The text on one line, which every encoding of Unicode takes.

    Example:
        >>> print(visible("anna\nbob"))
        anna\nbob
    """
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


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
