import numpy as np
import pytest
from scipy.stats import norm

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrap_means, bootstrap_pairs, bootstrap_rates, pair_weights, rate_interval
from ddl_tf.metrics.k_fold import best_threshold, k_fold_accuracy
from ddl_tf.metrics.templates import NEVER
from ddl_tf.metrics.weighted import WeightedPairs

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


def test_people_are_drawn_with_their_pairs():
    first, second = people_of(40, 8, np.random.default_rng(0))
    names = np.array([f"person {number}" for number in range(8)])
    drawn = list(pair_weights(np.arange(40) < 20, 300, 3, names[first], names[second]))
    for weights in drawn:
        # What was drawn can be read from the pairs of one person.
        times = {person: weights[:20][first[:20] == person] for person in range(8)}
        times = {person: of_person[0] for person, of_person in times.items() if len(of_person)}
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
    both = (np.tile(side, 2) for side in people_of(40, 8, np.random.default_rng(0)))
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


def test_means_by_unit():
    values = np.array([1.0, 1.0, 1.0, 0.0, 0.0])
    unit = np.array(["a", "a", "a", "b", "c"])
    means = bootstrap_means(values, 4000, 0, unit)
    # Drawing a k times of 3: 3k of 3k + (3 - k) values are 1.
    possible = {0.0: 8, 3 / 5: 12, 6 / 7: 6, 1.0: 1}
    means_seen, counts = np.unique(means.round(9), return_counts=True)
    np.testing.assert_allclose(means_seen, sorted(possible), atol=1e-8)
    np.testing.assert_allclose(counts / 4000, [possible[key] / 27 for key in sorted(possible)], atol=0.025)


def test_intervals_of_rates():
    correct = np.arange(500) < 450
    alone = bootstrap_rates(correct, 2000, 0)
    np.testing.assert_allclose(alone, rate_interval(450, 500), atol=0.006)
    # Ten probes a person, all right or all wrong, are as good as one: the interval is sqrt(10) as wide.
    clustered = bootstrap_rates(correct, 2000, 0, unit=np.arange(500) // 10)
    assert (clustered[1] - clustered[0]) / (alone[1] - alone[0]) == pytest.approx(np.sqrt(10), rel=0.1)
    # The ends of Wilson's interval solve its equation.
    for successes, trials in ((0, 20), (7, 20), (1990, 2000)):
        for end in rate_interval(successes, trials):
            if 0 < end < 1:
                error = np.sqrt(end * (1 - end) / trials)
                assert abs(successes / trials - end) / error == pytest.approx(norm.ppf(0.975), abs=1e-6)


def test_weights_are_repetitions():
    random = np.random.default_rng(0)
    labels = random.random(300) < 0.4
    # Rounded, so that there are ties within and between the classes.
    pairs = np.round(0.3 * random.normal(size=300) + 0.3 * labels, 2), labels, random.integers(0, 5, 300)
    weights = random.poisson(1, 300)
    # A fold without weight does not count.
    for weight in (weights, weights * (pairs[2] != 4)):
        numbers = WeightedPairs(*pairs).numbers(weight)
        # The second way: the pairs are repeated, and the numbers are those of evaluation itself.
        similarity, same, fold = (np.repeat(column, weight) for column in pairs)
        curve = roc.roc_curve(similarity, same)
        expected = {
            "auc": roc.auc(*curve),
            "eer": roc.eer(*curve),
            **{f"tar@{name}": roc.tar_at_far(*curve, far) for name, far in roc.FAR_TARGETS.items()},
            "mean_same": similarity[same].mean(),
            "mean_different": similarity[~same].mean(),
            "expectation_margin": similarity[same].mean() - similarity[~same].mean(),
            "threshold_accuracy": best_threshold(2 - 2 * similarity, same)[1],
            "accuracy": k_fold_accuracy(2 - 2 * similarity, same, fold).mean(),
        }
        assert numbers == pytest.approx(expected, abs=1e-12)
    # A pair without an image is in no mean, and never accepted.
    lost = np.arange(300) % 7 == 0
    similarity = np.where(lost, NEVER, pairs[0])
    numbers = WeightedPairs(similarity, labels, far_targets={"half": 0.5}).numbers(np.ones(300))
    means = similarity[labels & ~lost].mean(), similarity[~labels & ~lost].mean()
    assert (numbers["mean_same"], numbers["mean_different"]) == pytest.approx(means, abs=1e-12)
    assert numbers["tar@half"] == roc.tar_at_far(*roc.roc_curve(similarity, labels), 0.5)
    assert not {"accuracy", "tar@1e-1"} & set(numbers)


@pytest.mark.parametrize(
    "call, message",
    [
        (lambda: bootstrap_rates(np.ones(3), 39, 0), "39 replicates: an interval of 95% needs at least 40"),
        (lambda: bootstrap_rates(np.ones(3), 40, 0, np.ones(2)), r"shape \(3,\), units of \(2,\)"),
        (lambda: bootstrap_rates(np.array([1, np.inf]), 40, 0), "1 of 2 values are not finite"),
        (lambda: rate_interval(3, 2), "3 successes of 2 trials"),
        (lambda: next(pair_weights(np.ones(3, bool), 1, 0)), "3 of 3 pairs are same ones"),
        (lambda: next(pair_weights(SAME, 1, 0, np.ones(40))), "give both, or none"),
        (lambda: WeightedPairs(np.ones(2), SAME[:3], np.ones(2)), r"shapes \[\(2,\), \(3,\), \(2,\)\]"),
        (lambda: WeightedPairs(np.array([0.1, np.nan]), SAME[14:16]), "1 similarities are not finite"),
        (lambda: WeightedPairs(np.ones(2), SAME[:2]), "2 of 2 pairs are same ones"),
        (lambda: next(pair_weights(SAME, 1, 0, np.ones(40), np.ones(3))), "40 and 3 people for 40 pairs"),
    ],
)
def test_refusals(call, message):
    with pytest.raises(InputError, match=message):
        call()
