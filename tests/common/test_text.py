import io
import warnings

import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.common.text import figure_text, visible


def test_what_belongs_to_a_name_is_left_as_it_is():
    for name in ("Zo\xeb", "\u0645\u06cc\u200c\u062e", "\U0001f469\u200d\U0001f680", "\u5f20\u4f1f", "a|b $5 _c"):
        assert visible(name) == name


def test_what_nobody_sees_is_shown():
    assert visible("a\tb\r\x00\x7f") == r"a\tb\r\x00\x7f"
    assert visible("\u202etxt\u2066\ufeff\u200b") == r"\u202etxt\u2066\ufeff\u200b"
    visible("caf\udce9").encode("utf-8")


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
