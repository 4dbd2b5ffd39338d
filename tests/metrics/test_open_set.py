"""Open-set search by the rules of the surveillance scripts, against slow twins."""

import numpy as np
import pytest

from ddl_tf.metrics.bootstrap import draw_counts
from ddl_tf.metrics.open_set import SteppedSearch, bootstrap_steps, tpir_at_false_alarms
from ddl_tf.metrics.ranks import tpir_at_fpir


def case(seed=0, mated=80, strangers=120):
    random = np.random.RandomState(seed)
    mate = np.where(random.uniform(size=mated) < 0.2, -np.inf, random.normal(0.6, 0.2, mated))
    return mate, random.normal(0.3, 0.15, strangers)


def naive_curve(mate, stranger, thresholds):
    rates = [(np.mean(stranger >= threshold), np.mean(mate >= threshold)) for threshold in thresholds]
    return np.array(sorted(rates, key=lambda rate: rate[0])).T


@pytest.mark.parametrize("seed", range(3))
def test_the_curve_is_the_naive_one(seed):
    mate, stranger = case(seed)
    search = SteppedSearch(mate, stranger)
    assert len(search.thresholds) in (1000, 1001)
    curve = search.curve()
    fpir, tpir = naive_curve(mate, stranger, search.thresholds)
    np.testing.assert_allclose(curve.fpir, fpir, atol=1e-14)
    np.testing.assert_allclose(curve.tpir, tpir, atol=1e-14)
    for target in (0.01, 0.1, 0.33):
        place = np.abs(fpir - target).argmin()
        assert curve.nearest(target) == pytest.approx((tpir[place], fpir[place]))


def test_probes_that_count_several_times():
    mate, stranger = case()
    random = np.random.default_rng(0)
    times = [draw_counts(random, len(part)) for part in (mate, stranger)]
    search = SteppedSearch(mate, stranger)
    curve = search.curve(*times)
    fpir, tpir = naive_curve(np.repeat(mate, times[0]), np.repeat(stranger, times[1]), search.thresholds)
    np.testing.assert_allclose(curve.fpir, fpir, atol=1e-14)
    np.testing.assert_allclose(curve.tpir, tpir, atol=1e-14)


def test_strangers_that_are_alike_or_without_image():
    curve = SteppedSearch(np.array([0.4, 0.6, -np.inf]), np.array([0.5, 0.5])).curve()
    assert (curve.fpir.tolist(), curve.tpir.tolist(), curve.auc) == ([1], [pytest.approx(1 / 3)], 0)
    # One that has no image raises no alarm, and counts.
    curve = SteppedSearch(np.array([0.9]), np.array([0.1, 0.3, -np.inf])).curve()
    assert curve.fpir.max() == pytest.approx(2 / 3)


def test_intervals_draw_people_and_strangers():
    mate, stranger = case()
    people, strangers = np.arange(80) // 4, np.arange(120) // 2
    targets = {"3e-1": 0.3}
    intervals = bootstrap_steps(SteppedSearch(mate, stranger), people, strangers, "tpir20", targets, 200, 1)
    assert set(intervals) == {"tpir20_auc", "tpir20@3e-1"}
    curve = SteppedSearch(mate, stranger).curve()
    for (low, high), value in zip(intervals.values(), (curve.auc, curve.nearest(0.3)[0])):
        assert low < value < high
    alone = bootstrap_steps(SteppedSearch(mate, stranger), np.arange(80), np.arange(120), "t", targets, 200, 1)
    widths = [part[1] - part[0] for part in (intervals["tpir20_auc"], alone["t_auc"])]
    assert widths[0] != widths[1]


def test_the_highest_threshold_that_leaves_the_alarms():
    mate, stranger = case(5)
    rank = np.where(np.isfinite(mate), np.random.RandomState(0).randint(1, 3, 80), 0)
    targets = [0.0, 0.01, 0.1, 0.5, 1.0]
    rates = tpir_at_false_alarms(rank, mate, stranger, targets)
    for target, rate in zip(targets, rates):
        allowed = int(120 * target)
        # Of all thresholds with so many alarms, the highest is that of the last alarm itself.
        threshold = np.sort(stranger)[::-1][allowed - 1] if allowed else stranger.max() + 1e-8
        assert np.sum(stranger >= threshold) == allowed
        assert rate == pytest.approx(sum(r == 1 and m >= threshold for r, m in zip(rank, mate)) / 80)
    # NIST's rule takes the lowest.
    lowest, _ = tpir_at_fpir(rank, mate, stranger, targets)
    assert np.all(rates <= lowest)
    nobody = np.full(4, -np.inf)
    assert tpir_at_false_alarms(np.zeros(3, int), nobody[:3], nobody, [0.0, 0.5]).tolist() == [0, 0]
