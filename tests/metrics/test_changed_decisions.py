import numpy as np
import pytest

from ddl_tf.metrics.changed_decisions import RateThreshold, changed_decisions
from ddl_tf.metrics.pair_people import PairPeople
from ddl_tf.metrics.paired_tests import FEW_FALSE_ACCEPTS
from ddl_tf.metrics.roc import threshold_at_far


def pairs(seed=0, count=300):
    """Two models on pairs of 30 people, of which every third is of one person; many are equally similar."""
    random = np.random.default_rng(seed)
    first = random.integers(0, 30, count)
    same = np.arange(count) % 3 == 0
    second = np.where(same, first, (first + random.integers(1, 30, count)) % 30)
    model, baseline = (np.round(random.normal(size=count) + shift * same, 1) for shift in (2.5, 1.5))
    return model, baseline, same, PairPeople(first, second, "people")


def naive_threshold(similarity, same, fmr):
    """The lowest similarity of any pair, or none, at which few enough different pairs are accepted."""
    candidates = [value for value in similarity if np.mean(similarity[~same] >= value) <= fmr + 1e-12]
    return min(candidates, default=np.inf)


@pytest.mark.parametrize("fmr", [0.01, 0.03, 0.1, 0.5])
def test_the_threshold_is_that_of_repeated_pairs(fmr):
    model, _, same, _ = pairs()
    rule = RateThreshold(model, same, fmr)
    assert rule.at(np.ones(len(same))) == naive_threshold(model, same, fmr)
    accepted = model >= rule.at(np.ones(len(same)))
    np.testing.assert_array_equal(accepted, model.astype(np.float32) >= threshold_at_far(model, same, fmr))
    weights = np.random.default_rng(1).integers(0, 4, len(same))
    repeated = naive_threshold(np.repeat(model, weights), np.repeat(same, weights), fmr)
    # A pair that counts 0 times may have a similarity between the two.
    np.testing.assert_array_equal((model >= rule.at(weights))[weights > 0], (model >= repeated)[weights > 0])


def test_what_turned_is_counted_one_by_one():
    model, baseline, same, people = pairs()
    parts = {"all": np.ones(300, bool), "even": people.first % 2 == 0, "nobody": np.zeros(300, bool)}
    changes = changed_decisions(model, baseline, same, 0.1, parts, 40, 0, people)
    thresholds = naive_threshold(model, same, 0.1), naive_threshold(baseline, same, 0.1)
    for name, part in parts.items():
        for kind, change in zip((True, False), changes[name]):
            turned = {"right": 0, "wrong": 0}
            rows = [row for row in range(300) if part[row] and same[row] == kind]
            for row in rows:
                now, before = ((values[row] >= level) == kind for values, level in zip((model, baseline), thresholds))
                if now != before:
                    turned["right" if now else "wrong"] += 1
            assert (change.pairs, change.right, change.wrong) == (len(rows), turned["right"], turned["wrong"])
            if rows:
                assert change.test.difference == pytest.approx((change.wrong - change.right) / len(rows))
    assert changes["all"][0].test.number == "fnmr"
    assert changes["all"][0].test.test == "paired bootstrap of people"
    assert changes["nobody"][0].test.p is None


def test_a_better_model_is_more_than_chance_and_an_equal_one_is_not():
    model, baseline, same, people = pairs()
    all_pairs = {"all": np.ones(300, bool)}
    (better, _) = changed_decisions(model, baseline, same, 0.1, all_pairs, 400, 0, people)["all"]
    assert better.test.p < 0.02
    assert better.test.high < 0
    (equal, _) = changed_decisions(model, model, same, 0.1, all_pairs, 400, 0, people)["all"]
    assert (equal.right, equal.wrong, equal.test.difference, equal.test.p) == (0, 0, 0, 1)


def test_the_interval_is_that_of_a_plain_bootstrap_of_repeated_pairs():
    model, baseline, same, _ = pairs()
    part = np.arange(300) < 150
    (change, _) = changed_decisions(model, baseline, same, 0.1, {"half": part}, 300, 3)["half"]
    random, differences = np.random.default_rng(8), []
    for _ in range(300):
        rows = np.concatenate([random.choice(np.flatnonzero(same == kind), np.sum(same == kind)) for kind in (1, 0)])
        rates = []
        for values in (model, baseline):
            missed = values[rows] < naive_threshold(values[rows], same[rows], 0.1)
            rates.append(missed[part[rows] & same[rows]].mean())
        differences.append(rates[0] - rates[1])
    np.testing.assert_allclose([change.test.low, change.test.high], np.quantile(differences, [0.025, 0.975]), atol=0.04)


def test_too_few_false_accepts_have_no_test():
    model, baseline, same, people = pairs()
    few = np.isin(np.arange(300), np.flatnonzero(~same)[:5])
    change = changed_decisions(model, baseline, same, 0.1, {"few": few}, 40, 0, people)["few"][1]
    assert change.pairs == 5
    assert (change.test.p, change.test.test) == (None, FEW_FALSE_ACCEPTS)
