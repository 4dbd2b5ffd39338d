import sys

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.comparison import comparison_figure
from ddl_tf.evaluation.plots import Similarities, check_format, verification_figure


def _pairs(name):
    random = np.random.RandomState(0)
    same = np.arange(400) % 2 == 0
    return Similarities(name, 0.2 * random.normal(size=400) + 0.5 * same, same)


def test_each_set_has_its_curves():
    pairs = [_pairs("a"), _pairs("b")]
    figure = verification_figure(pairs)
    titles = [axes.get_title() for axes in figure.axes]
    assert titles == ["a: ROC", "a: 200 same, 200 different pairs", "b: ROC", "b: 200 same, 200 different pairs"]
    far, tar = figure.axes[0].lines[0].get_data()
    assert (tar[0], far[-1], tar[-1]) == (0, 1, 1)
    assert np.all(far > 0)
    means = [line.get_xdata()[0] for line in figure.axes[1].lines]
    similarity, same = pairs[0].similarity, pairs[0].same
    assert means == pytest.approx([similarity[same].mean(), similarity[~same].mean()])


@pytest.mark.parametrize("similarity", [0.0, 1.0])
def test_collapsed_embeddings_can_be_drawn(tmp_path, similarity):
    pairs = Similarities("collapsed", np.full(20, similarity), np.arange(20) % 2 == 0)
    verification_figure([pairs]).savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")


def test_no_pyplot(tmp_path):
    had = "matplotlib.pyplot" in sys.modules
    verification_figure([_pairs("a")]).savefig(tmp_path / "plot.png")
    assert ("matplotlib.pyplot" in sys.modules) == had


@pytest.mark.parametrize("path", ["plot", "plot.xyz", "a.b/plot"])
def test_unknown_format(path):
    with pytest.raises(InputError, match=r"must end in \.png"):
        check_format(path)
    check_format("plot.PNG")


def test_pairs_without_an_image_are_not_drawn_but_counted():
    whole = _pairs("a")
    pairs = Similarities(
        "a", np.append(whole.similarity, [-2.0, -2.0, -2.0]), np.append(whole.same, [True, True, False])
    )
    assert (pairs.left_out, whole.left_out) == (3, 0)
    assert pairs.margin == whole.margin
    drawn, wanted = (verification_figure([one]).axes[1] for one in (pairs, whole))
    assert drawn.get_title() == "a: 200 same, 200 different pairs;\n3 of a side without an image left out"
    assert [line.get_xdata()[0] for line in drawn.lines] == [line.get_xdata()[0] for line in wanted.lines]
    heights = [[patch.get_height() for patch in axes.patches] for axes in (drawn, wanted)]
    assert heights[0] == heights[1]
    arms = [comparison_figure({"arm": (one, one)}) for one in (pairs, whole)]
    assert arms[0].axes[0].get_xlim() == arms[1].axes[0].get_xlim()
    assert arms[0].axes[0].get_title() == arms[1].axes[0].get_title()
