"""Tables as Markdown, for terminals, pages and cards."""

import re

import pandas as pd

from ddl_tf.common.text import visible


def _cell(text: str) -> str:
    # Backslashes before a bar too: else they would escape each other.
    return re.sub(r"(\\*)\|", r"\1\1\\|", visible(text))


def markdown_table(table: pd.DataFrame) -> str:
    """Write a table as Markdown, numbers with three digits; bars and ends of lines in a text are escaped."""
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row] for row in table.to_numpy()]
    lines = [[str(name) for name in table.columns], ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(map(_cell, line))} |" for line in lines)
