"""Tables as Markdown, for terminals, pages and cards."""

import math
import re

import pandas as pd

from ddl_tf.common.text import visible

# Of what is missing.
DASH = "\N{EN DASH}"


def _cell(text: str) -> str:
    # Backslashes before a bar too: else they would escape each other.
    return re.sub(r"(\\*)\|", r"\1\1\\|", visible(text))


def _text(value: object) -> str:
    # What could not be measured is None, or NaN in a column of numbers.
    if value is None or value is pd.NA or (isinstance(value, float) and math.isnan(value)):
        return DASH
    return f"{value:.3f}" if isinstance(value, float) else str(value)


def markdown_table(table: pd.DataFrame) -> str:
    """Write a table as Markdown, numbers with three digits; what is missing is a dash, and no text leaves its cell."""
    cells = [[_text(value) for value in row] for row in table.to_numpy()]
    lines = [[str(name) for name in table.columns], ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
