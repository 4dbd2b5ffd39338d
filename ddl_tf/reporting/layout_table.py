"""A table of a report, to be written as HTML, CSV, Markdown or LaTeX."""

import dataclasses
import re
from collections.abc import Sequence
from typing import Optional

import pandas as pd

from ddl_tf.common.markdown import DASH
from ddl_tf.common.text import visible

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    DASH: "--",
    "\N{MINUS SIGN}": "$-$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


class Strong(str):
    """The text of a cell that is set in bold."""


def latex_escape(text: str) -> str:
    """Write text so that LaTeX shows it as it is."""
    return "".join(_LATEX.get(letter, letter) for letter in visible(text))


def markdown_escape(text: str) -> str:
    """Write text so that it stays in its cell of a Markdown table and is no markup."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", visible(text))


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table: the first `heads` cells of a row say what it is of, in words; the others hold numbers.

    `name` is that of its files and its anchor. The page shows a `folded` table only when it is asked for. `data` are
    the numbers at full precision, for the CSV file; the cells if None.
    """

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    heads: int = 1
    folded: bool = False
    data: Optional[pd.DataFrame] = None

    def csv(self) -> str:
        """Write it as CSV."""
        data = pd.DataFrame(self.rows, columns=list(self.header)) if self.data is None else self.data
        return data.to_csv(index=False)

    def markdown(self) -> str:
        """Write it as Markdown, with its caption below."""
        rows = [
            [f"**{markdown_escape(cell)}**" if isinstance(cell, Strong) else markdown_escape(cell) for cell in row]
            for row in self.rows
        ]
        rule = [*["---"] * self.heads, *["--:"] * (len(self.header) - self.heads)]
        lines = [[markdown_escape(name) for name in self.header], rule, *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{markdown_escape(self.caption)}\n"

    def latex(self) -> str:
        """Write it as a LaTeX table; it needs the package booktabs."""
        rows = [
            [rf"\textbf{{{latex_escape(cell)}}}" if isinstance(cell, Strong) else latex_escape(cell) for cell in row]
            for row in self.rows
        ]
        table = pd.DataFrame(rows, columns=[latex_escape(name) for name in self.header]).style.hide(axis="index")
        text = table.to_latex(
            hrules=True,
            column_format="l" * self.heads + "r" * (len(self.header) - self.heads),
            position_float="centering",
            caption=latex_escape(self.caption),
            label=f"tab:{self.name}",
        )
        return "% needs \\usepackage{booktabs}\n" + text
