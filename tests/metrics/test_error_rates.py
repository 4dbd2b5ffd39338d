"""The rates of ISO/IEC 19795-1 beside bob.measure and PyEER on the same scores; docs/error_rates.md has the rules."""

import importlib.util
import json
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.metrics import roc
from ddl_tf.metrics.error_rates import (
    error_numbers,
    generalised_rates,
    is_accepted,
    operating_points,
    rule_of_thirty,
    rule_of_three,
    with_failures,
)
from ddl_tf.metrics.people_rates import pair_rates
from ddl_tf.metrics.ranks import tpir_at_fpir

FOLDER = Path(__file__).resolve().parents[1] / "golden"
SPEC = importlib.util.spec_from_file_location("make_error_rates_golden", FOLDER / "make_error_rates_golden.py")
MAKER = importlib.util.module_from_spec(SPEC)
SPEC.loader.exec_module(MAKER)
GOLDEN = json.loads((FOLDER / "error_rates_golden.json").read_text())


@pytest.fixture(params=MAKER.CASES)
def case(request):
    """Similarities and labels, and what the two packages say."""
    same, different = MAKER.scores(request.param)
    labels = np.arange(len(same) + len(different)) < len(same)
    return np.concatenate([same, different]), labels, GOLDEN[request.param]


def rates_at(similarity, same, threshold):
    accepted = is_accepted(similarity, {"": threshold})[:, 0]
    return accepted[~same].mean(), 1 - accepted[same].mean()


def test_rates_at_every_threshold_are_those_of_both(case):
    similarity, same, golden = case
    for threshold, fmr, fnmr in zip(*(golden["pyeer"][name] for name in ("thresholds", "fmr", "fnmr"))):
        assert rates_at(similarity, same, threshold) == pytest.approx((fmr, fnmr), abs=1e-12)
    for threshold, fmr, fnmr in golden["bob"]["points"].values():
        # Theirs just above the largest different pair is no number of float32.
        rounded = np.float32(threshold)
        rounded = np.nextafter(rounded, np.float32(np.inf)) if float(rounded) < threshold else rounded
        assert rates_at(similarity, same, rounded) == pytest.approx((fmr, fnmr), abs=1e-12)


def test_thresholds_of_a_false_match_rate_and_how_those_of_both_differ(case):
    similarity, same, golden = case
    targets = {str(rate): rate for rate in MAKER.RATES}
    few = [name for name, rate in targets.items() if rate * np.sum(~same) < 3]
    points = operating_points(similarity, same, targets, 0, seed=0)
    assert points.intervals == {}
    curve = [np.array(golden["pyeer"][name]) for name in ("thresholds", "fmr", "fnmr")]
    for name, rate in targets.items():
        if name in few:
            assert {part[name] for part in points.rates.values()} == {None}
            continue
        threshold, fmr, fnmr = (points.rates[part][name] for part in ("threshold", "fmr", "fnmr"))
        assert (fmr, fnmr) == pytest.approx(rates_at(similarity, same, threshold), abs=1e-12)
        # bob.measure: as many false matches, at the threshold that is the last accepted different pair; the same pairs
        # between it and ours are accepted by ours alone.
        bob_threshold, bob_fmr, bob_fnmr = golden["bob"]["points"][name]
        assert fmr == pytest.approx(bob_fmr, abs=1e-12)
        between = (similarity >= np.float32(threshold)) & (similarity < bob_threshold)
        assert not (between & ~same).any()
        assert bob_fnmr - fnmr == pytest.approx((between & same).sum() / same.sum(), abs=1e-12)
        # PyEER: the similarity whose FMR is nearest to the target, be it above it.
        place = int(np.argmin(abs(curve[1] - rate)))
        assert golden["pyeer"]["points"][name] == pytest.approx([curve[0][place], curve[2][place]])
        assert fmr <= rate + 1e-12


def test_equal_error_rates(case):
    similarity, same, golden = case
    far, tar = roc.roc_curve(similarity, same)
    eer = roc.eer(far, tar)
    # The two points of the curve that are next to FAR = 1 - TAR; ours lies on the line between them.
    after = int(np.argmax(far + tar >= 1))
    ends = [(far[place], 1 - tar[place]) for place in (after - 1, after)]
    assert min(ends[0][0], ends[1][1]) - 1e-12 <= eer <= max(ends[1][0], ends[0][1]) + 1e-12
    # bob.measure: the mean of both rates where they differ least.
    bob, fmr, fnmr = golden["bob"]["eer"]
    assert bob == pytest.approx((fmr + fnmr) / 2)
    assert abs(fmr - fnmr) == pytest.approx(min(abs(far + tar - 1)), abs=1e-12)
    # PyEER: that mean at the end with the smaller sum (FVC2000).
    value, low, high = golden["pyeer"]["eer"]
    sums = [sum(end) for end in ends]
    assert value == pytest.approx(min(sums) / 2, abs=1e-12)
    assert value == pytest.approx((low + high) / 2)
    # No rule of them is further from another than the step of the curve.
    step = max(abs(ends[1][0] - ends[0][0]), abs(ends[1][1] - ends[0][1]))
    assert max(abs(eer - bob), abs(eer - value)) <= step + 1e-12


def test_areas(case):
    similarity, same, golden = case
    far, tar = roc.roc_curve(similarity, same)
    # PyEER's curve ends at the largest similarity: what lies before it, where nothing is accepted, is not in its area.
    lost = far[1] * tar[1] / 2
    assert golden["pyeer"]["auc"] == pytest.approx(roc.auc(far, tar) - lost, abs=1e-12)


def test_open_set_search_is_that_of_bob():
    similarity, mate = MAKER.searches()
    mated, rows = mate >= 0, np.arange(len(mate))
    mine = np.where(mated, similarity[rows, mate], -np.inf)
    others = np.where(np.arange(similarity.shape[1]) == mate[:, np.newaxis], -np.inf, similarity)
    rank = 1 + np.sum(others >= mine[:, np.newaxis], axis=1)
    strangers = others.max(axis=1)[~mated]
    for threshold, fpir, tpir in zip(MAKER.SEARCH_THRESHOLDS, *GOLDEN["search"].values()):
        assert np.mean(strangers >= threshold) == pytest.approx(fpir)
        assert np.mean((rank == 1) & (mine >= threshold), where=mated) == pytest.approx(tpir)
        (mine_at,), (lowest,) = tpir_at_fpir(rank[mated], mine[mated], strangers, [fpir])
        # Ours is the lowest threshold of that FPIR.
        assert lowest <= max(threshold, similarity.min())
        assert mine_at >= tpir - 1e-12


def test_intervals_are_over_people_or_else_pairs():
    random = np.random.default_rng(0)
    same = np.arange(300) < 100
    first = random.integers(0, 12, 300)
    second = np.where(same, first, (first + random.integers(1, 12, 300)) % 12)
    similarity = (random.normal(size=300) + 1.5 * same).astype(np.float32)
    points = operating_points(similarity, same, {"1e-1": 0.1}, 40, 3, first, second)
    wrong = (similarity < points.rates["threshold"]["1e-1"])[same]
    (rate,) = pair_rates(wrong[:, None], first[same], second[same], 40, 3)
    assert points.intervals["fnmr@1e-1"] == rate.interval
    alone = operating_points(similarity, same, {"1e-1": 0.1}, 200, 3)
    assert alone.rates == points.rates
    # Of 100 pairs that are independent as far as is known: as a binomial.
    low, high = alone.intervals["fnmr@1e-1"]
    assert high - low == pytest.approx(2 * 1.96 * np.sqrt(wrong.mean() * (1 - wrong.mean()) / 100), rel=0.25)


def test_rules_of_three_and_thirty():
    # The exact bound of no error in 300: (1 - p)^300 = 0.05.
    assert rule_of_three(300) == pytest.approx(1 - 0.05 ** (1 / 300), rel=0.01)
    assert rule_of_thirty(1e-3) == 30_000
    # Of so many, as many errors as are expected, within 30%: nine of ten times.
    errors = np.random.default_rng(0).binomial(30_000, 1e-3, 4000)
    assert np.mean(np.abs(errors - 30) <= 9) == pytest.approx(0.9, abs=0.02)


def test_generalised_rates_of_a_hundred_people_by_counting():
    # 10 cannot be enrolled; of 10 attempts of each other, 1 gets no image; of 9 do 2 not match, and 3 match others.
    users, enrolled = 100, 90
    accepted_own, accepted_other = enrolled * 7, enrolled * 3
    rates = generalised_rates(fmr=3 / 9, fnmr=2 / 9, fta=0.1, fte=0.1)
    assert rates.gfrr == pytest.approx(1 - accepted_own / (users * 10))
    assert rates.gfar == pytest.approx(accepted_other / (users * 10))


def test_errors_of_the_successes_of_any_protocol():
    result = {
        "tar": {"1e-2": 0.9},
        "identification": {"tpir": {"1e-1": 0.75, "1e-2": None}, "rank": {"1": 0.8}},
        "verification": {"tar": {"1e-3": 0.9}, "fnmr": {"1e-3": 0.1}},
        # Of each protocol of IJB-S.
        "tpir": {"booking": {"1e-1": 0.5}},
        "intervals": {"tar@1e-2": [0.85, 0.95], "tpir@booking@1e-1": [0.25, 0.625]},
    }
    numbers = error_numbers(result)
    assert list(numbers) == ["fnmr@1e-2", "identification@fnir@1e-1", "fnir@booking@1e-1"]
    assert numbers["fnir@booking@1e-1"] == (0.5, [0.375, 0.75])
    assert numbers["fnmr@1e-2"][0] == pytest.approx(0.1)
    assert numbers["fnmr@1e-2"][1] == pytest.approx([0.05, 0.15])
    assert numbers["identification@fnir@1e-1"] == (0.25, None)


def test_failures_of_protocols():
    assert "acquisition" not in with_failures({"set": "a"}, 100, 0)
    found = with_failures({"set": "a", "gallery": 50, "missing_gallery": 5, "missing_probes": 5}, 90, 2)["acquisition"]
    assert found == {"attempts": 100, "failed": 12, "fta": 0.12, "fte": 0.1}
    templates = {"missing_images": 1, "identification": {"gallery": 4, "missing_gallery": 1}}
    assert with_failures(templates, 9, 0)["acquisition"] == {"attempts": 10, "failed": 1, "fta": 0.1, "fte": 0.25}
    # A set of people has counted its own.
    assert with_failures({"acquisition": {}}, 9, 9) == {"acquisition": {}}
