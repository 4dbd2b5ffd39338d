import sys

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.plots import (
    Similarities,
    check_format,
    comparison_figure,
    comparison_table,
    verification_figure,
)


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


def results(easy_margin, hard_margin):
    return [
        {"set": name, "accuracy": 0.9, "auc": 0.95, "tar": {"1e-2": 0.5}, "expectation_margin": margin}
        for name, margin in (("easy", easy_margin), ("hard", hard_margin))
    ]


def test_the_gap_is_the_difference_of_the_margins():
    table = comparison_table({"ArcFace": results(0.5, 0.2), "DDL": results(0.45, 0.4)}, "easy", "hard")
    assert list(table["arm"]) == ["ArcFace", "DDL"]
    assert list(table["gap"]) == pytest.approx([0.3, 0.05])
    assert list(table["hard margin"]) == [0.2, 0.4]


def test_a_missing_set_is_an_error():
    with pytest.raises(KeyError, match="hard"):
        comparison_table({"ArcFace": results(0.5, 0.2)[:1]}, "easy", "hard")


def test_the_figure_shows_each_arm_with_its_gap(tmp_path):
    rng = np.random.default_rng(0)
    same = np.arange(100) % 2 == 0

    def pairs(name, shift):
        return Similarities(name, 0.1 * rng.normal(size=100) + shift * same, same)

    arms = {"ArcFace": (pairs("easy", 0.8), pairs("hard", 0.2)), "DDL": (pairs("easy", 0.7), pairs("hard", 0.6))}
    figure = comparison_figure(arms)
    assert len(figure.axes) == 2
    for axes, (arm, (easy, hard)) in zip(figure.axes, arms.items()):
        margins = [s.similarity[same].mean() - s.similarity[~same].mean() for s in (easy, hard)]
        assert axes.get_title().startswith(arm)
        assert axes.get_title().endswith(f"gap {margins[0] - margins[1]:.2f}")
        means = [s.similarity[same == kind].mean() for s in (easy, hard) for kind in (True, False)]
        assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx(means)
    figure.savefig(tmp_path / "figure.png")
