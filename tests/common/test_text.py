import io
import warnings
from pathlib import Path

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

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


@pytest.mark.parametrize("name", ["_ddl", "__x", r"$\bad$", "$a$", "5$", r"\$x$", "a\nb", "_$_$"])
def test_matplotlib_draws_every_name_and_keeps_it_in_the_legend(name):
    figure = Figure()
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot([0, 1], label=figure_text(name))
    axes.set_title(figure_text(name))
    axes.set_xticks([0], [figure_text(name)])
    legend = axes.legend()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figure.savefig(io.BytesIO(), format="svg")
    (text,) = legend.get_texts()
    # What is drawn: no formula, and the name itself.
    drawn, is_formula = text._preprocess_math(text.get_text())
    assert not is_formula
    assert drawn.lstrip("\N{ZERO WIDTH SPACE}") == visible(name)


@pytest.mark.parametrize("name, cell", [("=1+1", "'=1+1"), ("+a", "'+a"), ("-a", "'-a"), ("@a", "'@a"), ("a=1", "a=1")])
def test_no_cell_is_a_formula(name, cell):
    assert csv_cell(name) == cell
    assert csv_cell("\t" + name) == "\\t" + name


def test_what_a_file_cannot_hold():
    assert is_unicode("李\0")
    assert not is_unicode("jos\udce9")
    assert visible_if_needed("a\nb") == "a\nb"
    assert visible_if_needed("jos\udce9\n") == r"jos\xe9\n"
