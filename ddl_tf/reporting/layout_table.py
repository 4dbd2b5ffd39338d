"""A table of a report, to be written as HTML, CSV, Markdown or LaTeX."""

import dataclasses
import io
import re
from collections.abc import Sequence
from typing import Optional

import pandas as pd

from ddl_tf.common.text import visible

DASH = "\N{EN DASH}"

_LATEX = {
    "\\": r"\textbackslash{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    "\N{EN DASH}": "--",
    "\N{MINUS SIGN}": "$-$",
    **{letter: f"\\{letter}" for letter in "&%$#_{}"},
}


def latex_escape(text: str) -> str:
    r"""Write text so that LaTeX shows it as it is.

    Example:
        >>> print(latex_escape("cfp_fp: 95%"))
        cfp\_fp: 95\%
    """
    return "".join(_LATEX.get(letter, letter) for letter in visible(text))


def markdown_escape(text: str) -> str:
    """Write text so that it stays in its cell of a Markdown table and is no markup."""
    return re.sub(r"([\\|*_`<>\[\]])", r"\\\1", visible(text))


@dataclasses.dataclass(frozen=True)
class Cell:
    """A cell of a table.

    Attributes:
        text: what it says.
        strong: whether it is set in bold.
    """

    text: str
    strong: bool = False


@dataclasses.dataclass(frozen=True)
class TextTable:
    """A table.

    Attributes:
        name: of its files and its anchor.
        caption: what it shows and what its numbers mean.
        header: of each column.
        rows: the cells; the first `heads` of a row say what it is of, in words; the others hold numbers.
        heads: how many.
        folded: whether the page shows it only when it is asked for.
        data: the numbers at full precision, for the CSV file; the cells if None.
    """

    name: str
    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[Cell]]
    heads: int = 1
    folded: bool = False
    data: Optional[pd.DataFrame] = None

    def csv(self) -> str:
        """Write it as CSV."""
        data = self.data
        if data is None:
            data = pd.DataFrame([[cell.text for cell in row] for row in self.rows], columns=list(self.header))
        text = io.StringIO()
        data.to_csv(text, index=False)
        return text.getvalue()

    def markdown(self) -> str:
        """Write it as Markdown, with its caption below."""
        rows = [
            [f"**{markdown_escape(cell.text)}**" if cell.strong else markdown_escape(cell.text) for cell in row]
            for row in self.rows
        ]
        rule = [*["---"] * self.heads, *["--:"] * (len(self.header) - self.heads)]
        lines = [[markdown_escape(name) for name in self.header], rule, *rows]
        return "\n".join(f"| {' | '.join(line)} |" for line in lines) + f"\n\n{markdown_escape(self.caption)}\n"

    def latex(self) -> str:
        """Write it as a LaTeX table; it needs the package booktabs."""
        rows = [
            [rf"\textbf{{{latex_escape(cell.text)}}}" if cell.strong else latex_escape(cell.text) for cell in row]
            for row in self.rows
        ]
        lines = [" & ".join(row) + r" \\" for row in rows]
        columns = "l" * self.heads + "r" * (len(self.header) - self.heads)
        return "\n".join(
            [
                r"% needs \usepackage{booktabs}",
                r"\begin{table}",
                r"  \centering",
                rf"  \caption{{{latex_escape(self.caption)}}}",
                rf"  \label{{tab:{self.name}}}",
                rf"  \begin{{tabular}}{{{columns}}}",
                r"    \toprule",
                "    " + " & ".join(latex_escape(name) for name in self.header) + r" \\",
                r"    \midrule",
                *(f"    {line}" for line in lines),
                r"    \bottomrule",
                r"  \end{tabular}",
                r"\end{table}",
                "",
            ]
        )
