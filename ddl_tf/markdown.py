"""Tables as Markdown, for terminals, pages and cards."""

import pandas as pd


def markdown_table(table: pd.DataFrame) -> str:
    """Write a table as Markdown, numbers with three digits.

    Args:
        table: its columns have the heads as names. A bar in a text becomes a slash, since it would begin a new cell.

    Returns:
        The lines, without an end of line after the last.

    Example:
        >>> print(markdown_table(pd.DataFrame({"set": ["lfw"], "auc": [0.98765]})))
        | set | auc |
        | --- | --- |
        | lfw | 0.988 |
    """
    cells = [[f"{value:.3f}" if isinstance(value, float) else str(value) for value in row] for row in table.to_numpy()]
    lines = [list(table.columns), ["---"] * len(table.columns), *cells]
    return "\n".join(f"| {' | '.join(cell.replace('|', '/') for cell in line)} |" for line in lines)
