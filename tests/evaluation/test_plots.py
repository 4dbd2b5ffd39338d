import numpy as np
import pytest

from ddl_tf.evaluation.plots import Similarities, comparison_figure, comparison_table, verification_figure


def _pairs(name):
    random = np.random.RandomState(0)
    same = np.arange(400) % 2 == 0
    return Similarities(name, 0.2 * random.normal(size=400) + 0.5 * same, same)


def test_each_set_has_its_curves():
    sets = [_pairs("a"), Similarities("collapsed", np.ones(20), np.arange(20) % 2 == 0)]
    figure = verification_figure(sets)
    titles = [axes.get_title() for axes in figure.axes[:3]]
    assert titles == ["a: ROC", "a: 200 same, 200 different pairs", "collapsed: ROC"]
    far, tar = figure.axes[0].lines[0].get_data()
    assert (tar[0], far[-1], tar[-1]) == (0, 1, 1)
    means = [line.get_xdata()[0] for line in figure.axes[1].lines]
    similarity, same = sets[0].similarity, sets[0].same
    assert means == pytest.approx([similarity[same].mean(), similarity[~same].mean()])


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


def test_each_arm_is_shown_with_its_gap():
    rng, same = np.random.default_rng(0), np.arange(100) % 2 == 0
    arms, results = {}, {}
    for arm, shifts in (("ArcFace", (0.8, 0.2)), ("DDL", (0.7, 0.6))):
        sets = [Similarities("", 0.1 * rng.normal(size=100) + shift * same, same) for shift in shifts]
        numbers = {"accuracy": 0.9, "auc": 0.95, "tar": {"1e-2": 0.5}}
        margins = [{"set": s, **numbers, "expectation_margin": p.margin} for s, p in zip(("easy", "hard"), sets)]
        arms[arm], results[arm] = tuple(sets), margins
    table = comparison_table(results, "easy", "hard")
    assert list(table["arm"]) == ["ArcFace", "DDL"]
    figure = comparison_figure(arms)
    assert len(figure.axes) == 2
    for axes, gap, (arm, sets) in zip(figure.axes, table["gap"], arms.items()):
        means = [pairs.similarity[same == kind].mean() for pairs in sets for kind in (True, False)]
        assert gap == pytest.approx(means[0] - means[1] - means[2] + means[3])
        assert axes.get_title().startswith(arm)
        assert axes.get_title().endswith(f"gap {gap:.2f}")
        assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx(means)
