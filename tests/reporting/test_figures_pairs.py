import numpy as np
import pytest
from generated_evaluations import pairs_of_people

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.plots import Similarities
from ddl_tf.metrics.bootstrap import pair_weights
from ddl_tf.reporting.figures_pairs import RocBand, distributions_figure, roc_band, roc_det_figure
from ddl_tf.reporting.palette import style, styles_of


def scores(seed, shift=1.5, count=240):
    rng = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    # Coarse, so that there are ties.
    return np.round(rng.normal(size=count) + shift * same, 1), same


def naive_tar(similarity, same, far):
    """The largest share of same pairs accepted by a threshold that accepts at most a share of the different ones."""
    best = 0.0
    for threshold in [np.inf, *similarity]:
        accepted = similarity >= threshold
        if np.mean(accepted[~same]) <= far + 1e-9:
            best = max(best, np.mean(accepted[same]))
    return best


def test_the_curve_is_the_tar_at_each_far_with_a_band_from_three_false_accepts_on():
    similarity, same = scores(0)
    band = roc_band(similarity, same, replicates=40, seed=0)
    assert (band.far[0], band.far[-1]) == pytest.approx((1 / 120, 1))
    assert band.tar == pytest.approx([naive_tar(similarity, same, far) for far in band.far])
    few = band.far * 120 < 2.99
    assert few.any()
    assert np.isnan([band.low[few], band.high[few]]).all()
    assert np.all(band.low[~few] <= band.high[~few])
    with pytest.raises(InputError, match="39 replicates"):
        roc_band(similarity, same, replicates=39, seed=0)


def test_the_band_holds_the_middle_of_the_replicates():
    similarity, same = scores(1)
    band = roc_band(similarity, same, replicates=60, seed=3)
    place = 60
    values = []
    for weights in pair_weights(same, 60, 3):
        rows = np.repeat(np.arange(len(same)), weights)
        values.append(naive_tar(similarity[rows], same[rows], band.far[place]))
    assert [band.low[place], band.high[place]] == pytest.approx(np.quantile(values, [0.025, 0.975]))


def test_people_are_resampled_where_they_are_known():
    first, second, same = pairs_of_people(0)
    similarity = np.random.default_rng(0).normal(size=len(same)) + same
    bands = [roc_band(similarity, same, 40, 0, *people) for people in ((None, None), (first // 4, second // 4))]
    assert np.array_equal(bands[0].tar, bands[1].tar)
    assert not np.array_equal(bands[0].low[60:], bands[1].low[60:])


def test_roc_and_det_show_the_band_of_each_model():
    far = np.geomspace(1 / 1000, 1, 120)
    tar = np.linspace(0.2, 1, len(far))
    bands = {"A": RocBand(far, tar, tar - 0.1, tar), "B": RocBand(far, tar**2, tar**2 - 0.1, tar**2)}
    roc, det = roc_det_figure("lfw", bands, 500, styles_of(bands)).axes
    assert [text.get_text() for text in roc.get_legend().get_texts()] == ["A", "B"]
    for place, band in enumerate(bands.values()):
        lines = roc.lines[place], det.lines[place]
        assert np.array_equal(lines[0].get_ydata(), band.tar)
        shown = band.far < 0.999
        # None missed is half of one pair.
        assert lines[1].get_ydata() == pytest.approx(np.maximum(1 - band.tar[shown], 0.001))
        assert {line.get_color() for line in lines} == {style(place).colour}
    assert len(roc.collections) == len(det.collections) == 2
    low, high = det.get_xlim()
    assert low == pytest.approx(0.001)
    # Probits: 0.5 is in the middle of 0.1 and 0.9.
    places = det.transData.transform([[0.1, 0.5], [0.5, 0.5], [0.9, 0.5]])[:, 0]
    assert places[1] - places[0] == pytest.approx(places[2] - places[1])
    assert high == pytest.approx(0.95)


def test_distributions_tell_means_and_margin():
    models = {}
    for number in range(4):
        similarity, same = scores(number)
        models[f"m{number}"] = Similarities("lfw", similarity / 10, same)
    figure = distributions_figure(models)
    panels = [axes for axes in figure.axes if axes.get_visible()]
    assert len(panels) == 4
    for axes, (name, pairs) in zip(panels, models.items()):
        means = [pairs.similarity[pairs.same == wanted].mean() for wanted in (True, False)]
        assert axes.get_title() == f"{name}: margin {means[0] - means[1]:.2f}"
        assert [line.get_xdata()[0] for line in axes.lines] == pytest.approx(means)
