import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.bootstrap import percentile_interval, rate_interval
from ddl_tf.metrics.people_rates import ACROSS, Comparisons, group_rates, pair_rates

PEOPLE = np.array(["e", "b", "a", "d", "c"])


def _pairs(same, count=60):
    random = np.random.default_rng(3)
    first = random.integers(0, 5, count)
    second = first if same else (first + random.integers(1, 5, count)) % 5
    return random.random([count, 3]) < [0.2, 0.5, 0.9], PEOPLE[first], PEOPLE[second]


@pytest.mark.parametrize("same", [True, False])
def test_as_of_pairs_repeated_with_their_people(same):
    accepted, first, second = _pairs(same)
    rates = pair_rates(accepted, first, second, 40, seed=7)
    random, values = np.random.default_rng(7), []
    for _ in range(40):
        drawn = random.integers(0, 5, 5)
        times = {person: int(np.sum(drawn == place)) for place, person in enumerate("abcde")}
        rows = []
        for row, one, other in zip(accepted, first, second):
            rows += [row] * (times[one] if same else times[one] * times[other])
        if rows:
            values.append(np.mean(rows, axis=0))
    for rate, column, drawn in zip(rates, accepted.T, np.array(values).T):
        assert rate.value == column.mean()
        np.testing.assert_allclose(rate.interval, percentile_interval(drawn), rtol=1e-12)


def test_no_errors_are_not_taken_for_certain():
    # Three people with many pairs each are three trials.
    people = np.repeat(["a", "b", "c"], 50)
    none, every = pair_rates(np.tile([[False, True]], [150, 1]), people, people, 40, seed=0)
    assert (none.value, none.interval) == (0, rate_interval(0, 3))
    assert (every.value, every.interval) == (1, rate_interval(3, 3))
    # And so are their three pairs of people, whichever is named first.
    first, second = np.repeat(["a", "b", "a", "b"], 20), np.repeat(["b", "a", "c", "c"], 20)
    assert pair_rates(np.zeros([80, 1]), first, second, 40, seed=0)[0].interval == rate_interval(0, 3)


def test_without_replicates_there_is_no_interval_and_few_are_refused():
    accepted, first, second = _pairs(same=True)
    assert [rate.interval for rate in pair_rates(accepted, first, second, 0, seed=0)] == [None] * 3
    with pytest.raises(InputError, match="needs at least 40"):
        pair_rates(accepted, first, second, 20, seed=0)
    # Two people of whom both are drawn in half of the replicates only.
    (rate,) = pair_rates(np.array([[True], [False]]), np.array([0, 0]), np.array([1, 1]), 40, seed=0)
    assert rate == (0.5, [0.5, 0.5])


def test_rates_of_groups_are_those_of_the_pairs_in_them():
    random = np.random.default_rng(0)
    people, group = np.repeat(np.arange(12), 5), random.integers(-1, 3, 60)
    # Nobody else has the last group.
    group[group == 2] = 1
    group[:3] = 2
    first, second = np.triu_indices(60, 1)
    same, accepted = people[first] == people[second], random.random([len(first), 2]) < [0.05, 0.002]
    pairs = Comparisons(first, second, same, accepted)
    targets = {"5e-2": 0.05, "2e-3": 0.002}
    found = group_rates(["a", "b", "alone"], group, people, pairs, targets, 40, seed=1)
    rates, intervals = found.groups, found.intervals["groups"]
    assert list(rates) == ["a", "b", "alone", ACROSS]
    kept = group >= 0
    for number, name in enumerate(rates):
        if name == ACROSS:
            inside = (group[first] != group[second]) & kept[first] & kept[second]
            images = kept
        else:
            inside = (group[first] == number) & (group[second] == number)
            images = group == number
        counts = (len(set(people[images])), images.sum(), (inside & same).sum(), (inside & ~same).sum())
        assert tuple(rates[name][count] for count in ("people", "images", "same", "different")) == counts
        for place, (target, rate) in enumerate(targets.items()):
            fnmr, fmr = ((inside & same & ~accepted[:, place]).sum(), (inside & ~same & accepted[:, place]).sum())
            if name == "alone":
                assert rates[name]["fnmr"][target] is None
                assert rates[name]["fmr"][target] is None
                continue
            assert rates[name]["fnmr"][target] == pytest.approx(fnmr / counts[2])
            if max(fmr, rate * counts[3]) >= 3:
                assert rates[name]["fmr"][target] == pytest.approx(fmr / counts[3])
                low, high = intervals[f"{name}@fmr@{target}"]
                assert low <= fmr / counts[3] <= high
            else:
                assert rates[name]["fmr"][target] is None
                assert f"{name}@fmr@{target}" not in intervals
    assert {len(rates[name]["fmr"]) for name in rates} == {2}
    # Of the groups, some rate is too rare to be measured.
    assert None in [rates[name]["fmr"]["2e-3"] for name in ("a", "b")]
    # Each two groups are what groups would be that hold the pairs of them alone.
    assert list(found.pairs) == ["a and b", "a and alone", "b and alone"]
    of_two = {"a and b": (0, 1), "a and alone": (0, 2), "b and alone": (1, 2)}
    for name, both in of_two.items():
        inside = (np.sort([group[first], group[second]], axis=0) == np.array(both)[:, None]).all(axis=0)
        cell = found.pairs[name]
        assert (cell["same"], cell["different"]) == ((inside & same).sum(), (inside & ~same).sum())
        if cell["fmr"]["5e-2"] is not None:
            rows = inside & ~same
            assert cell["fmr"]["5e-2"] == accepted[rows, 0].mean()
            (value, _) = pair_rates(accepted[rows], people[first[rows]], people[second[rows]], 40, 1)
            assert found.intervals["pairs"][f"{name}@fmr@5e-2"] == value.interval
    across = rates[ACROSS]
    assert sum(cell["different"] for cell in found.pairs.values()) == across["different"]
    plain = group_rates(["a", "b", "alone"], group, people, pairs, targets, 0, seed=1)
    assert plain == (rates, found.pairs, {"groups": {}, "pairs": {}})
