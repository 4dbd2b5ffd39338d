import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.bootstrap import pair_weights
from ddl_tf.metrics.discard_curves import (
    DiscardOrder,
    FalseMatchRate,
    FalseNonMatchRate,
    discard_benefits,
    ideal_area,
    ideal_fnmr,
)
from ddl_tf.metrics.pair_people import PairPeople

GOLDEN = Path(__file__).parents[1] / "golden"
MADE = runpy.run_path(str(GOLDEN / "make_discard_golden.py"))
CASES = MADE["cases"]()
SHARES = np.array([0.0, 0.1, 0.2, 0.6])


@pytest.mark.parametrize("name", CASES)
def test_curve_and_area_are_those_of_the_reference_script(name):
    quality, similarity, threshold = CASES[name]
    golden = json.loads((GOLDEN / "discard_golden.json").read_text())[name]
    curve = DiscardOrder(quality.min(axis=1)).curve(similarity < threshold)
    np.testing.assert_allclose(curve.discarded, golden["discard"], rtol=0, atol=1e-12)
    np.testing.assert_allclose(curve.fnmr, golden["error"], rtol=0, atol=1e-12)
    np.testing.assert_allclose([curve.area(limit) for limit in MADE["LIMITS"]], golden["pauc"], rtol=0, atol=1e-12)


def pairs(seed=0, count=300, people=20):
    """Pairs of people; the higher its quality, the more similar is a pair of one person. Some have no quality."""
    random = np.random.default_rng(seed)
    same = np.arange(count) % 2 == 0
    first = random.integers(0, people, count)
    second = np.where(same, first, (first + random.integers(1, people, count)) % people)
    quality = np.round(random.uniform(size=count), 1)
    similarity = np.round(random.normal(size=count) + (1 + 3 * quality) * same, 2)
    quality[::17] = np.nan
    return similarity, same, quality, PairPeople(first, second, "people")


def naive_threshold(similarity, same, start):
    """Of all levels that a threshold may have, in order, the first that keeps the rate."""
    levels = np.unique(similarity)
    above = np.append(levels, np.inf)
    if isinstance(start, FalseMatchRate):
        return min(level for level in above if np.mean(similarity[~same] >= level) <= start.rate)
    return max(level for level in above if np.mean(similarity[same] < level) <= start.rate)


def naive_fnmr(quality, rejected, share):
    """Discard level by level, the lowest first, as long as not more than the share is gone."""
    left = np.ones(len(quality), bool)
    for level in np.unique(quality):
        if np.mean(quality <= level) > share + 1e-12 or np.all(quality <= level):
            break
        left = quality > level
    return np.mean(rejected[left])


def naive_numbers(similarity, same, quality, start):
    """The FNMR at some shares, and the area as the mean over a fine grid."""
    rejected = (similarity < naive_threshold(similarity, same, start))[same & np.isfinite(quality)]
    known = quality[same & np.isfinite(quality)]
    count = len(known)
    # Between two neighbours of the grid of 1/count nothing changes.
    area = sum(naive_fnmr(known, rejected, place / count) for place in range(int(0.2 * count))) / count
    area += naive_fnmr(known, rejected, 0.2) * (0.2 - int(0.2 * count) / count)
    return np.array([area, rejected.mean(), *(naive_fnmr(known, rejected, share) for share in SHARES)])


@pytest.mark.parametrize("start", [FalseMatchRate(0.05), FalseNonMatchRate(0.15)])
@pytest.mark.parametrize("known", [True, False])
def test_benefits_against_repeated_pairs(start, known):
    """A replicate is a set in which pairs are there several times."""
    similarity, same, quality, people = pairs()
    people = people if known else None
    benefit = discard_benefits(similarity, same, {"q": quality}, start, SHARES, 40, seed=3, people=people)["q"]
    area, begin, *fnmr = naive_numbers(similarity, same, quality, start)
    count = int(np.sum(same & np.isfinite(quality)))
    assert (benefit.pairs, benefit.rejected) == (count, round(begin * count))
    np.testing.assert_allclose([benefit.area, *benefit.fnmr], [area, *fnmr], rtol=0, atol=1e-12)
    assert benefit.ratio == pytest.approx(area / (0.2 * begin))
    rows = []
    for weights in pair_weights(same, 40, 3, *((people.first, people.second) if known else ())):
        repeated = [np.repeat(values, weights) for values in (similarity, same, quality)]
        rows.append(naive_numbers(*repeated, start))
    areas, starts, *rates = np.array(rows).T
    ends = np.quantile([areas, areas / (0.2 * starts), *rates], [0.025, 0.975], axis=1).T
    found = [benefit.area_interval, benefit.ratio_interval, *zip(benefit.low, benefit.high)]
    np.testing.assert_allclose(found, ends, rtol=0, atol=1e-10)


def test_nothing_is_below_the_ideal_and_a_quality_of_chance_is_near_one():
    similarity, same, _, people = pairs(count=4000)
    start = FalseMatchRate(0.05)
    rejected = similarity < naive_threshold(similarity, same, start)
    chance = np.random.default_rng(5).uniform(size=len(same))
    # Of the rejected pairs each in its own step, as if somebody knew them.
    qualities = {"ideal": np.where(rejected, chance - 1, chance), "chance": chance}
    benefits = discard_benefits(similarity, same, qualities, start, SHARES, 40, seed=0, people=people)
    ideal, random = benefits["ideal"], benefits["chance"]
    np.testing.assert_allclose(ideal.fnmr, ideal_fnmr(ideal.fnmr[0], SHARES), atol=1e-3)
    assert ideal.ratio == pytest.approx(ideal.ideal, abs=2e-3)
    assert random.ratio == pytest.approx(1, abs=0.1)
    assert ideal.area < random.area
    low, high = random.ratio_interval
    assert low < 1 < high
    grid = np.linspace(0, 0.2, 20001)
    for fnmr in (0.0, 0.03, 0.5, 1.0):
        mean = np.mean(ideal_fnmr(fnmr, (grid[1:] + grid[:-1]) / 2))
        assert ideal_area(fnmr, 0.2) == pytest.approx(0.2 * mean, abs=1e-7)


def test_without_an_error_there_is_no_ratio():
    similarity, same, quality, _ = pairs()
    benefit = discard_benefits(similarity + 9 * same, same, {"q": quality}, FalseMatchRate(0.05), SHARES, 40, 0)["q"]
    assert (benefit.rejected, benefit.area, benefit.ratio_interval) == (0, 0, None)
    assert np.isnan(benefit.ratio)
    assert np.isnan(benefit.ideal)


def test_bad_input():
    similarity, same, quality, _ = pairs()
    with pytest.raises(InputError, match="10 of 150 qualities are not finite"):
        DiscardOrder(np.append(np.zeros(140), np.full(10, np.nan)))
    with pytest.raises(InputError, match="0 of 0 qualities"):
        discard_benefits(similarity, same, {"q": quality * np.nan}, FalseMatchRate(0.1), SHARES, 40, 0)
    with pytest.raises(InputError, match="limit 1"):
        discard_benefits(similarity, same, {"q": quality}, FalseMatchRate(0.1), SHARES, 40, 0, limit=1)
