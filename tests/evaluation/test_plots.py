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


def test_collapsed_embeddings_can_be_drawn_without_pyplot(tmp_path):
    had = "matplotlib.pyplot" in sys.modules
    pairs = [Similarities("collapsed", np.full(20, value), np.arange(20) % 2 == 0) for value in (0.0, 1.0)]
    verification_figure(pairs).savefig(tmp_path / "plot.png")
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
    assert ("matplotlib.pyplot" in sys.modules) == had


def test_unknown_format():
    for path in ("plot", "plot.xyz", "a.b/plot"):
        with pytest.raises(InputError, match=r"must end in \.png"):
            check_format(path)
    check_format("plot.PNG")


def test_pairs_without_an_image_are_not_drawn_but_counted():
    whole = _pairs("a")
    lost = Similarities("a", np.append(whole.similarity, [-2.0] * 3), np.append(whole.same, [True, True, False]))
    assert (lost.left_out, whole.left_out, lost.margin) == (3, 0, whole.margin)
    drawn, expected = (verification_figure([pairs]).axes[1] for pairs in (lost, whole))
    assert drawn.get_title() == "a: 200 same, 200 different pairs;\n3 of a side without an image left out"
    assert [line.get_xdata()[0] for line in drawn.lines] == [line.get_xdata()[0] for line in expected.lines]
    heights = [[patch.get_height() for patch in axes.patches] for axes in (drawn, expected)]
    assert heights[0] == heights[1]
    arms = [comparison_figure({"arm": (pairs, pairs)}).axes[0] for pairs in (lost, whole)]
    assert arms[0].get_xlim() == arms[1].get_xlim()
    assert arms[0].get_title() == arms[1].get_title()


def test_the_gap_is_the_difference_of_the_margins():
    def results(*margins):
        numbers = {"accuracy": 0.9, "auc": 0.95, "tar": {"1e-2": 0.5}}
        return [
            {"set": name, **numbers, "expectation_margin": margin} for name, margin in zip(("easy", "hard"), margins)
        ]

    table = comparison_table({"ArcFace": results(0.5, 0.2), "DDL": results(0.45, 0.4)}, "easy", "hard")
    assert list(table["arm"]) == ["ArcFace", "DDL"]
    assert list(table["gap"]) == pytest.approx([0.3, 0.05])
    assert list(table["hard margin"]) == [0.2, 0.4]
    with pytest.raises(KeyError, match="hard"):
        comparison_table({"ArcFace": results(0.5)}, "easy", "hard")


def test_the_figure_shows_each_arm_with_its_gap():
    rng, same = np.random.default_rng(0), np.arange(100) % 2 == 0
    arms = {
        arm: tuple(Similarities(name, 0.1 * rng.normal(size=100) + shift * same, same) for name, shift in shifts)
        for arm, shifts in (("ArcFace", (("easy", 0.8), ("hard", 0.2))), ("DDL", (("easy", 0.7), ("hard", 0.6))))
    }
    figure = comparison_figure(arms)
    assert len(figure.axes) == 2
    for axes, (arm, sets) in zip(figure.axes, arms.items()):
        means = [pairs.similarity[same == kind].mean() for pairs in sets for kind in (True, False)]
        assert axes.get_title().startswith(arm)
        assert axes.get_title().endswith(f"gap {means[0] - means[1] - means[2] + means[3]:.2f}")
        assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx(means)
