import numpy as np
import pytest
from scipy.stats import norm

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import (
    bootstrap_means,
    bootstrap_pairs,
    bootstrap_rates,
    bootstrapped_targets,
    pair_weights,
    rate_interval,
)

SAME = np.arange(40) < 15


def people_of(pairs, people, random):
    """Pairs of few people: the first half of one person each."""
    first = random.integers(0, people, pairs)
    return first, np.where(np.arange(pairs) < pairs // 2, first, (first + random.integers(1, people, pairs)) % people)


def test_pairs_are_drawn_in_their_class():
    weights = np.array(list(pair_weights(SAME, replicates=1000, seed=0)))
    assert set(weights[:, SAME].sum(axis=1)) == {15}
    assert set(weights[:, ~SAME].sum(axis=1)) == {25}
    # Drawn n of n times with replacement: the mean is 1, the variance 1 - 1/n.
    np.testing.assert_allclose(weights.mean(axis=0), 1, atol=0.12)
    np.testing.assert_allclose(weights[:, SAME].var(axis=0).mean(), 1 - 1 / 15, atol=0.03)
    again, another = (np.array(list(pair_weights(SAME, 3, seed))) for seed in (0, 2))
    np.testing.assert_array_equal(again, list(pair_weights(SAME, 3, 0)))
    assert (again != another).any()


def test_people_are_drawn_with_their_pairs():
    random = np.random.default_rng(0)
    first, second = people_of(40, 8, random)
    names = np.array([f"person {number}" for number in range(8)])
    drawn = list(pair_weights(np.arange(40) < 20, 300, 3, names[first], names[second]))
    for weights in drawn:
        # What was drawn can be read from the pairs of one person.
        times = {person: weights[:20][first[:20] == person] for person in range(8)}
        times = {person: found[0] for person, found in times.items() if len(found)}
        assert weights[:20].tolist() == [times[person] for person in first[:20]]
        for pair in range(20, 40):
            if first[pair] in times and second[pair] in times:
                assert weights[pair] == times[first[pair]] * times[second[pair]]
    # Three of eight people are missing from a replicate on average: 8 (1 - 1/8)^8 = 2.75.
    missing = np.mean([np.mean(weights[:20] == 0) for weights in drawn])
    assert missing == pytest.approx((1 - 1 / 8) ** 8, abs=0.05)


def test_a_pair_is_drawn_by_whom_it_shows_not_by_its_label():
    # Official lists have pairs of one person that are marked different, and the other way round.
    first, second = np.array([0, 0, 1, 1]), np.array([0, 0, 1, 2])
    for weights in pair_weights(np.array([True, False, True, False]), 50, 0, first, second):
        assert weights[0] == weights[1]
    # No replicate lacks a class.
    for weights in pair_weights(np.array([True, False, True]), 100, 0, np.array([0, 0, 1]), np.array([0, 1, 1])):
        assert weights[1] > 0


def test_sets_are_resampled_apart_and_people_together():
    same, part = np.tile(SAME, 2), np.repeat([0, 1], 40)
    for weights in pair_weights(same, 50, 0, part=part):
        assert [weights[(part == number) & same].sum() for number in (0, 1)] == [15, 15]
    first, second = people_of(40, 8, np.random.default_rng(0))
    both = (np.tile(side, 2) for side in (first, second))
    for weights in pair_weights(np.tile(np.arange(40) < 20, 2), 50, 0, *both, part=part):
        np.testing.assert_array_equal(weights[:40], weights[40:])


def test_interval_against_resampled_pairs():
    random = np.random.default_rng(1)
    same = np.arange(200) < 80
    similarity = random.normal(size=200) * 0.2 + 0.3 * same
    intervals, values = bootstrap_pairs(similarity, same, 400, seed=0), []
    for _ in range(400):
        chosen = np.r_[random.choice(np.flatnonzero(same), 80), random.choice(np.flatnonzero(~same), 120)]
        values.append(roc.auc(*roc.roc_curve(similarity[chosen], same[chosen])))
    np.testing.assert_allclose(intervals["auc"], np.percentile(values, [2.5, 97.5]), atol=0.02)
    means = ["mean_same", "mean_different", "expectation_margin", "threshold_accuracy"]
    assert sorted(intervals) == sorted(["auc", "eer", "tar@1e-1", *means])


def test_no_interval_for_a_rate_of_fewer_than_three_pairs():
    for pairs, names in ((3000, ["1e-1", "1e-2", "1e-3"]), (2999, ["1e-1", "1e-2"])):
        assert list(bootstrapped_targets(np.zeros(pairs, bool))) == names
    assert bootstrapped_targets(np.array([True]), {"all": 1.0}) == {}


def test_means_by_unit():
    values = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    unit = np.array(["a", "a", "a", "b", "c"])
    means = bootstrap_means(values, 4000, 0, unit)
    # Drawing a k times of 3: 3k of 3k + (3 - k) values are 1.
    possible = {0.0: 8, 3 / 5: 12, 6 / 7: 6, 1.0: 1}
    found, counts = np.unique(means.round(9), return_counts=True)
    np.testing.assert_allclose(found, sorted(possible), atol=1e-8)
    np.testing.assert_allclose(counts / 4000, [possible[key] / 27 for key in sorted(possible)], atol=0.025)


def test_intervals_of_rates():
    correct = np.arange(500) < 450
    alone = bootstrap_rates(correct, 2000, 0)
    np.testing.assert_allclose(alone, rate_interval(450, 500), atol=0.006)
    # Ten probes a person, all right or all wrong, are as good as one: the interval is sqrt(10) as wide.
    clustered = bootstrap_rates(correct, 2000, 0, unit=np.arange(500) // 10)
    assert (clustered[1] - clustered[0]) / (alone[1] - alone[0]) == pytest.approx(np.sqrt(10), rel=0.1)


def test_wilson_interval_solves_its_equation():
    for successes, trials in ((0, 20), (7, 20), (1990, 2000)):
        for end in rate_interval(successes, trials):
            if 0 < end < 1:
                error = np.sqrt(end * (1 - end) / trials)
                assert abs(successes / trials - end) / error == pytest.approx(norm.ppf(0.975), abs=1e-6)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bootstrap_rates(np.ones(3), 39, 0), "39 replicates: an interval of 95% needs at least 40"),
        (lambda: bootstrap_rates(np.ones(0), 40, 0), r"not empty, got \(0,\) and \(0,\)"),
        (lambda: bootstrap_rates(np.ones(3), 40, 0, np.ones(2)), r"must be of one shape .*, got \(3,\) and \(2,\)"),
        (lambda: bootstrap_rates(np.array([1, np.inf]), 40, 0), "1 of 2 values are not finite"),
        (lambda: rate_interval(3, 2), "successes must be 0 to trials, .* got 3 of 2"),
        (lambda: rate_interval(0, 0), "trials at least 1, got 0 of 0"),
        (lambda: next(pair_weights(np.ones(3, bool), 1, 0)), "got 3 same of 3"),
        (lambda: next(pair_weights(SAME, 1, 0, np.ones(40))), "give first_person and second_person, or neither"),
        (
            lambda: next(pair_weights(SAME, 1, 0, np.ones(40), np.ones(3))),
            r"each pair must have two people, got 40 \+ 3 for 40",
        ),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
