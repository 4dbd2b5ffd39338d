import itertools
import math

import numpy as np
import pytest

from ddl_tf.metrics.bootstrap import percentile_interval
from ddl_tf.metrics.group_differences import (
    MEASURES,
    compare_groups,
    difference_measures,
    gini_coefficient,
    group_differences,
    measure_interval,
    worst_to_geometric_mean,
)
from ddl_tf.metrics.people_rates import Comparisons, group_rates


def naive_measures(fmr, fnmr):
    """By the formulas of the papers, in loops over lists."""
    values = {}
    for kind, rates in (("fmr", fmr), ("fnmr", fnmr)):
        count, mean = len(rates), sum(rates) / len(rates)
        total = sum(abs(a - b) for a, b in itertools.permutations(rates, 2))
        values[f"{kind}_gini"] = count / (count - 1) * total / (2 * count**2 * mean) if mean else None
        values[f"{kind}_ratio"] = max(rates) / math.prod(rates) ** (1 / count) if min(rates) else None
    ginis = [values[f"{kind}_gini"] for kind in ("fmr", "fnmr")]
    values["garbe"] = None if None in ginis else 0.5 * ginis[0] + 0.5 * ginis[1]
    all_have_errors = min(*fmr, *fnmr) > 0
    values["inequity_rate"] = (max(fmr) / min(fmr)) ** 0.5 * (max(fnmr) / min(fnmr)) ** 0.5 if all_have_errors else None
    differences = [max(abs(a - b) for a, b in itertools.combinations(rates, 2)) for rates in (fmr, fnmr)]
    values["fairness_discrepancy"] = 1 - 0.5 * differences[0] - 0.5 * differences[1]
    return values


@pytest.mark.parametrize("seed", range(4))
def test_measures_are_those_of_the_papers(seed):
    random = np.random.default_rng(seed)
    fmr, fnmr = random.random(2 + 2 * seed) / 100, random.random(2 + 2 * seed)
    measures = difference_measures(fmr, fnmr)
    assert tuple(measures) == MEASURES
    assert measures == pytest.approx(naive_measures(fmr.tolist(), fnmr.tolist()))


def test_measures_of_fair_groups_of_one_bad_group_and_of_none_with_errors():
    alike = np.full(4, 0.01)
    fair = difference_measures(alike, alike)
    ones = {"fmr_ratio", "fnmr_ratio", "inequity_rate", "fairness_discrepancy"}
    assert fair == pytest.approx({name: float(name in ones) for name in MEASURES})
    # All errors in one group: the Gini coefficient is 1, and ratios are infinite.
    alone = np.array([0.0, 0.0, 0.3])
    assert gini_coefficient(alone) == pytest.approx(1)
    assert worst_to_geometric_mean(alone) is None
    known = difference_measures(alone, np.array([0.1, 0.2, 0.1]))
    assert known == pytest.approx(naive_measures([0.0, 0.0, 0.3], [0.1, 0.2, 0.1]))
    assert known["inequity_rate"] is known["fmr_ratio"] is None
    nothing = difference_measures(np.zeros(3), alike[:3])
    assert nothing["fmr_gini"] is nothing["garbe"] is None
    # Of Howard et al.: FNMRs 0.01 and 0.03 are as different as 0.1 and 0.3 by ratios, not by differences.
    one, other = (difference_measures(alike[:2], scale * np.array([0.01, 0.03])) for scale in (1, 10))
    assert one["inequity_rate"] == pytest.approx(other["inequity_rate"])
    assert one["fairness_discrepancy"] > other["fairness_discrepancy"]


def made_pairs(people_each=6, images=4, groups=3):
    """Of groups of other error rates; all pairs."""
    people = np.repeat(np.arange(people_each * groups), images)
    group = people // people_each
    first, second = np.triu_indices(len(people), 1)
    same = people[first] == people[second]
    random = np.random.default_rng(0)
    chance = np.where(same, 0.7 - 0.1 * group[first], 0.25 + 0.05 * (group[first] == group[second]) * group[first])
    return people, group, Comparisons(first, second, same, random.random([len(first), 1]) < chance[:, None])


def test_rates_are_those_of_groups_and_intervals_those_of_repeated_people():
    people, group, pairs = made_pairs()
    names, targets = ["a", "b", "c"], {"5e-2": 0.05}
    found = group_differences(names, group, people, pairs, targets, 40, seed=5)
    rates = group_rates(names, group, people, pairs, targets, 40, seed=5)
    assert (found.groups, found.differences["pairs"]) == (rates.groups, rates.pairs)
    fmr, fnmr = ([rates.groups[name][kind]["5e-2"] for name in names] for kind in ("fmr", "fnmr"))
    measures = {name: found.differences[name]["5e-2"] for name in MEASURES}
    assert measures == pytest.approx(naive_measures(fmr, fnmr))
    assert found.notes == []
    # Naively: each pair as often as its people were drawn.
    random, values, alike = np.random.default_rng(5), [], []
    for _ in range(40):
        times = np.bincount(random.integers(0, 18, 18), minlength=18)
        repeats = np.where(
            pairs.same, times[people[pairs.first]], times[people[pairs.first]] * times[people[pairs.second]]
        )
        rows = np.repeat(np.arange(len(repeats)), repeats)
        drawn = {"fmr": [], "fnmr": []}
        for number in range(3):
            inside = rows[(group[pairs.first[rows]] == number) & (group[pairs.second[rows]] == number)]
            for kind, wrong, of in (("fmr", pairs.accepted, ~pairs.same), ("fnmr", ~pairs.accepted, pairs.same)):
                errors = wrong[inside[of[inside]], 0]
                drawn[kind].append(errors.mean() if len(errors) else np.nan)
        if not np.isfinite([*drawn["fmr"], *drawn["fnmr"]]).all():
            # Of a group nobody was drawn, or one person alone.
            continue
        values.append(naive_measures(drawn["fmr"], drawn["fnmr"]))
        one_rate = [
            [rate * np.mean(of_all) / of_group for rate, of_group in zip(drawn[kind], of_all)]
            for kind, of_all in (("fmr", fmr), ("fnmr", fnmr))
        ]
        alike.append(naive_measures(*one_rate))
    for name in MEASURES:
        columns = (np.array([value[name] for value in part]) for part in (values, alike))
        interval = measure_interval(name, measures[name], *columns)
        assert found.intervals[f"differences@{name}@5e-2"] == pytest.approx(interval)
        assert interval[0] <= measures[name] <= interval[1]
    for path, ends in rates.intervals["pairs"].items():
        assert found.intervals[f"differences@pairs@{path}"] == ends
    plain = group_differences(names, group, people, pairs, targets, 0, seed=5)
    assert (plain.differences, plain.intervals) == (found.differences, {})


@pytest.mark.parametrize("name", ["fnmr_ratio", "fnmr_gini", "fairness_discrepancy"])
def test_intervals_hold_the_truth_of_groups_that_are_alike_and_of_others(name):
    """Four groups of 15 people with 20 pairs each, whose rates differ between people."""
    random, held = np.random.default_rng(0), {}
    for text, means in (("alike", [0.2, 0.2, 0.2, 0.2]), ("different", [0.15, 0.15, 0.25, 0.4])):
        means = np.array(means)
        truth = difference_measures(np.ones(4), means)[name]
        for _ in range(60):
            errors = random.binomial(20, random.beta(6 * means, 6 * (1 - means), (15, 4)))
            rates = errors.sum(axis=0) / 300
            value = difference_measures(np.ones(4), rates)[name]
            drawn, alike = [], []
            for times in random.multinomial(60, np.full(60, 1 / 60), 100).reshape(100, 15, 4):
                row = (times * errors).sum(axis=0) / (20 * times.sum(axis=0))
                drawn.append(difference_measures(np.ones(4), row)[name])
                alike.append(difference_measures(np.ones(4), row * rates.mean() / rates)[name])
            low, high = measure_interval(name, value, np.array(drawn), np.array(alike))
            percentiles = percentile_interval(drawn)
            held.setdefault(text, []).append(low <= truth <= high)
            held.setdefault(f"percentiles, {text}", []).append(percentiles[0] <= truth <= percentiles[1])
    # 95%, with three standard errors of 60; of groups that are alike the percentile interval never holds the truth.
    assert min(np.mean(held["alike"]), np.mean(held["different"])) > 0.86
    assert not any(held["percentiles, alike"])


def test_groups_of_one_person_or_without_errors_are_told_in_a_line_each():
    people, group, pairs = made_pairs()
    # Of the last group one person is left.
    group = np.where(people == 17, 2, np.where(people >= 12, -1, group))
    found = group_differences(["a", "b", "alone"], group, people, pairs, {"5e-2": 0.05}, 0, seed=0)
    assert found.groups["alone"]["fmr"]["5e-2"] is None
    two = [[found.groups[name][kind]["5e-2"] for name in "ab"] for kind in ("fmr", "fnmr")]
    assert {name: found.differences[name]["5e-2"] for name in MEASURES} == pytest.approx(naive_measures(*two))
    # A group that rejects nobody makes a ratio infinite: no number, and no interval.
    accepted = pairs.accepted | (pairs.same & (group[pairs.first] == 0))[:, None]
    found = group_differences(["a", "b"], group, people, pairs._replace(accepted=accepted), {"5e-2": 0.05}, 40, seed=0)
    assert found.differences["fnmr_ratio"]["5e-2"] is found.differences["inequity_rate"]["5e-2"] is None
    assert found.differences["fnmr_gini"]["5e-2"] == pytest.approx(1)
    assert "differences@fnmr_ratio@5e-2" not in found.intervals
    # One with hardly an error has none in many replicates.
    few = pairs.accepted.copy()
    rows = np.flatnonzero(pairs.same & (group[pairs.first] == 0))
    few[rows] = True
    few[rows[0]] = False
    found = group_differences(["a", "b"], group, people, pairs._replace(accepted=few), {"5e-2": 0.05}, 40, seed=0)
    assert found.differences["fnmr_ratio"]["5e-2"] > 1
    assert "differences@fnmr_ratio@5e-2" not in found.intervals
    assert any(note.startswith("fnmr_ratio at FMR 5e-2 has no interval: in ") for note in found.notes)
    # Too few pairs for an FMR: the group is named.
    none = pairs.accepted & ~((group[pairs.first] == 0) & ~pairs.same)[:, None]
    found = group_differences(["a", "b"], group, people, pairs._replace(accepted=none), {"1e-3": 0.001}, 0, seed=0)
    assert found.notes == ["FMR of a at FMR 1e-3 is not measured: too few pairs or people."]
    # What is of FNMR alone is there nevertheless.
    known = {name for name in MEASURES if found.differences[name]["1e-3"] is not None}
    assert known == {"fnmr_ratio", "fnmr_gini"}
    fnmr = np.array([found.groups[name]["fnmr"]["1e-3"] for name in "ab"])
    assert found.differences["fnmr_gini"]["1e-3"] == gini_coefficient(fnmr)
    drawn = group_differences(["a", "b"], group, people, pairs._replace(accepted=none), {"1e-3": 0.001}, 40, seed=0)
    low, high = drawn.intervals["differences@fnmr_gini@1e-3"]
    assert low <= gini_coefficient(fnmr) <= high
    assert "differences@fmr_gini@1e-3" not in drawn.intervals


def test_columns_are_compared_at_the_thresholds_of_all_pairs():
    people, group, pairs = made_pairs()
    similarity = np.random.default_rng(1).random(len(pairs.first)) + 0.5 * pairs.same
    columns = {"race": (["a", "b", "c"], group), "half": (["one", "other"], group // 2)}
    found = compare_groups(columns, people, similarity, pairs[:3], {"1e-1": 0.9}, 40, seed=2)
    accepted = (similarity.astype(np.float32) >= np.float32(0.9))[:, None]
    for column, (names, of_image) in columns.items():
        alone = group_differences(names, of_image, people, pairs._replace(accepted=accepted), {"1e-1": 0.1}, 40, seed=2)
        assert found.groups[column] == alone.groups
        assert found.differences[column] == {"threshold": {"1e-1": 0.9}, **alone.differences}
        for path, ends in alone.intervals.items():
            part, rest = path.split("@", 1)
            assert found.intervals[f"{part}@{column}@{rest}"] == ends
