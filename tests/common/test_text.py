import datetime
import io
import sys
import warnings
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.provenance import command_line, utc_now
from ddl_tf.common.text import csv_cell, figure_text, is_unicode, visible, visible_if_needed


@pytest.mark.parametrize(
    "name, shown",
    [
        *((name, name) for name in ("Zo\xeb", "\u0645\u06cc\u200c\u062e", "\U0001f469\u200d\U0001f680", "a|b $5 _c")),
        ("Ünal, José 李\u200d👩\u200d🔬", "Ünal, José 李\u200d👩\u200d🔬"),
        ("a\rb\nc\0d\te\x1b[2J\x7f\x85", r"a\rb\nc\x00d\te\x1b[2J\x7f\x85"),
        ("\u202eanna\u2066\u200f\u061c\u2028", r"\u202eanna\u2066\u200f\u061c\u2028"),
        ("jos\udce9\ud800", r"jos\xe9\ud800"),
        ("a\u200b\u2060\ufeff\ufff9\ufffbb", r"a\u200b\u2060\ufeff\ufff9\ufffbb"),
        (Path("a\nb"), r"a\nb"),
    ],
)
def test_what_nobody_sees_is_shown(name, shown):
    assert visible(name) == shown
    visible(name).encode()
    assert visible(visible(name)) == shown


def test_matplotlib_draws_every_name_and_keeps_it_in_the_legend():
    names = ["_ddl", "__x", r"$\bad$", "$a$", "5$", r"\$x$", "a\nb", "_$_$"]
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    for name in names:
        axes.plot([0, 1], label=figure_text(name))
    axes.set_xticks(range(len(names)), map(figure_text, names))
    legend = axes.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="svg")
    # What is drawn: no formula, and the name itself.
    drawn = [text._preprocess_math(text.get_text()) for text in legend.get_texts()]
    assert not any(is_formula for _, is_formula in drawn)
    assert [text.lstrip("\N{ZERO WIDTH SPACE}") for text, _ in drawn] == list(map(visible, names))


def test_no_cell_is_a_formula_and_what_a_file_cannot_hold_is_escaped():
    for name, cell in (("=1+1", "'=1+1"), ("+a", "'+a"), ("-a", "'-a"), ("@a", "'@a"), ("a=1", "a=1")):
        assert csv_cell(name) == cell
        assert csv_cell("\t" + name) == "\\t" + name
    assert is_unicode("李\0")
    assert visible_if_needed("a\nb") == "a\nb"
    assert visible_if_needed("jos\udce9\n") == r"jos\xe9\n"


def test_a_table():
    names = ["a|b", "two\nlines", "back\\|bar", "left\u202eright", "half\ud800", "a\r\n| b | c |"]
    rows = [[name, 0.12345, 3] for name in names]
    rows += [["missing", None, None], ["none", float("nan"), 2]]
    table = pd.DataFrame(rows, columns=["name", "easy | margin", "pairs"], dtype=object)
    assert markdown_table(table).split("\n") == [
        r"| name | easy \| margin | pairs |",
        "| --- | --- | --- |",
        r"| a\|b | 0.123 | 3 |",
        r"| two\nlines | 0.123 | 3 |",
        r"| back\\\|bar | 0.123 | 3 |",
        r"| left\u202eright | 0.123 | 3 |",
        r"| half\ud800 | 0.123 | 3 |",
        r"| a\r\n\| b \| c \| | 0.123 | 3 |",
        "| missing | \N{EN DASH} | \N{EN DASH} |",
        "| none | \N{EN DASH} | 2 |",
    ]
    assert markdown_table(pd.DataFrame(columns=["set"])) == "| set |\n| --- |"


def test_the_command_line_and_the_time(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["/somewhere/train.py", "--run_dir=my runs/x", "--seed=1"])
    assert command_line() == "train.py '--run_dir=my runs/x' --seed=1"
    assert datetime.datetime.fromisoformat(utc_now()).utcoffset() == datetime.timedelta(0)
