import csv
import io
import re

from ddl_tf.common.markdown import DASH
from ddl_tf.reporting.layout_table import Strong, TextTable, latex_escape, markdown_escape

ROWS = [["cfp_fp", Strong("0.97 [0.96, 0.98]*"), DASH], ["a|b & 5% \\ {x} #1 $ ~ ^ <b>", "1", "\N{MINUS SIGN}2"]]
TABLE = TextTable("scores", "Some_numbers, 95%", ["set", "A & B_1", "C"], ROWS)


def markdown_cells(text):
    """The cells of a Markdown table, as a reader of it sees them."""
    rows = [line for line in text.splitlines() if line.startswith("| ")]
    cells = [re.findall(r"((?:\\.|[^\\|])*)\|", row[1:]) for row in rows]
    return [[re.sub(r"\\(.)", r"\1", cell.strip()) for cell in row] for row in cells]


def test_csv_and_markdown_round_trip():
    assert list(csv.reader(io.StringIO(TABLE.csv()))) == [["set", "A & B_1", "C"], *ROWS]
    header, rule, *rows = markdown_cells(TABLE.markdown())
    assert header == ["set", "A & B_1", "C"]
    assert rule == ["---", "--:", "--:"]
    assert rows[0] == ["cfp_fp", "**0.97 [0.96, 0.98]***", DASH]
    assert rows[1] == ROWS[1]
    assert TABLE.markdown().endswith("\n\nSome\\_numbers, 95%\n")


def test_latex_and_escapes():
    lines = TABLE.latex().splitlines()
    assert r"\caption{Some\_numbers, 95\%}" in lines
    assert r"\begin{tabular}{lrr}" in lines
    assert r"set & A \& B\_1 & C \\" in lines
    assert r"cfp\_fp & \textbf{0.97 [0.96, 0.98]*} & -- \\" in lines
    assert [line.strip() for line in lines if "rule" in line] == [r"\toprule", r"\midrule", r"\bottomrule"]
    (hard,) = [line for line in lines if "textbar" in line]
    assert hard.strip() == (
        r"a\textbar{}b \& 5\% \textbackslash{} \{x\} \#1 \$ \textasciitilde{} \textasciicircum{} "
        r"\textless{}b\textgreater{} & 1 & $-$2 \\"
    )
    assert latex_escape("a_b") == r"a\_b"
    assert markdown_escape("two\nlines*") == r"two\\nlines\*"
    assert latex_escape("two\n\nlines") == r"two\textbackslash{}n\textbackslash{}nlines"
