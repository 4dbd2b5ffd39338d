import numpy as np
import pytest

from ddl_tf.evaluation.comparison import comparison_figure, comparison_table
from ddl_tf.evaluation.plots import Similarities


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
