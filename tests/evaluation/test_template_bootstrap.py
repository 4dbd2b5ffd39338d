import numpy as np
import pytest

from ddl_tf.evaluation import template_bootstrap as module
from ddl_tf.evaluation.template_bootstrap import intervals_over_pairs, intervals_over_people
from ddl_tf.evaluation.template_roc import corner_roc, nearest_tar

TARGETS = {"1e-3": 1e-3, "1e-2": 1e-2, "1e-1": 1e-1}


def _pairs(seed, same=300, different=5000):
    random = np.random.RandomState(seed)
    similarity = np.r_[random.normal(0.4, 0.2, same), random.normal(0, 0.15, different)]
    order = random.permutation(len(similarity))
    return similarity[order], (np.arange(len(similarity)) < same)[order]


def _people(seed, people=60, same=400, different=6000):
    """Pairs of people of whom some are hard to recognise."""
    random = np.random.RandomState(seed)
    hardness = random.normal(0, 0.15, people)
    first = random.randint(0, people, same + different)
    second = np.where(np.arange(len(first)) < same, first, (first + random.randint(1, people, len(first))) % people)
    similarity = np.where(first == second, 0.45 - hardness[first], hardness[first] / 2) + random.normal(
        0, 0.1, len(first)
    )
    order = random.permutation(len(first))
    return similarity[order], (first == second)[order], first[order], second[order]


def _read(similarity, same):
    false, true = corner_roc(similarity, same)
    return [nearest_tar(false / false[-1], true / true[-1], target) for target in TARGETS.values()]


def test_over_pairs_as_of_resampled_pairs():
    similarity, same = _pairs(2)
    intervals = intervals_over_pairs(*corner_roc(similarity, same), TARGETS, 2000, seed=0)
    random = np.random.RandomState(0)
    replicates = []
    for _ in range(1000):
        parts = [np.flatnonzero(same), np.flatnonzero(~same)]
        chosen = np.concatenate([random.choice(part, len(part)) for part in parts])
        replicates.append(_read(similarity[chosen], same[chosen]))
    expected = np.percentile(replicates, [2.5, 97.5], axis=0)
    for place, (name, value) in enumerate(zip(TARGETS, _read(similarity, same))):
        np.testing.assert_allclose(intervals[name], expected[:, place], atol=0.015)
        assert intervals[name][0] < value < intervals[name][1]


@pytest.mark.parametrize("few", [10**6, 0])
def test_over_people_as_of_pairs_repeated_with_their_people(monkeypatch, few):
    # All different pairs, or the most similar fifth.
    monkeypatch.setattr(module, "_FEW", few)
    monkeypatch.setattr(module, "_MARGIN", 4.0)
    similarity, same, first, second = _people(0)
    intervals = intervals_over_people(similarity, same, first, second, TARGETS, 60, seed=5)
    random = np.random.default_rng(5)
    replicates = []
    for _ in range(60):
        times = np.bincount(random.integers(0, 60, 60), minlength=60)
        repeated = np.repeat(np.arange(len(same)), np.where(same, times[first], times[first] * times[second]))
        similarities, labels = similarity[repeated], same[repeated]
        # The points at the same pairs, by hand: repeated pairs are ties, at which scikit-learn has further points.
        points = [(0.0, 0.0), (1.0, 1.0)]
        for threshold in np.unique(similarity[same]):
            accepted = similarities >= threshold
            points.append((np.mean(accepted[~labels]), np.mean(accepted[labels])))
        far, tar = np.array(sorted(points)).T
        replicates.append([nearest_tar(far, tar, target) for target in TARGETS.values()])
    expected = np.percentile(replicates, [2.5, 97.5], axis=0)
    for place, name in enumerate(TARGETS):
        np.testing.assert_allclose(intervals[name], expected[:, place], atol=1e-12)


def test_over_people_holds_the_truth_more_often():
    # What a set of other people gives, again and again: the truth is their mean.
    every = np.array([_read(*_people(seed)[:2]) for seed in range(200)])
    truth = every.mean(axis=0)
    covered = {"people": 0, "pairs": 0}
    for seed in range(60):
        similarity, same, first, second = _people(seed)
        people = intervals_over_people(similarity, same, first, second, TARGETS, 100, seed)
        pairs = intervals_over_pairs(*corner_roc(similarity, same), TARGETS, 100, seed)
        for name, intervals in (("people", people), ("pairs", pairs)):
            low, high = intervals["1e-2"]
            covered[name] += low <= truth[1] <= high
    assert covered["people"] >= 50
    assert covered["pairs"] <= 40


def test_targets_of_too_few_false_accepts_have_no_interval():
    similarity, same = _pairs(3, different=500)
    assert list(intervals_over_pairs(*corner_roc(similarity, same), TARGETS, 50, seed=1)) == ["1e-2", "1e-1"]


def test_intervals_follow_the_seed():
    curve = corner_roc(*_pairs(3))
    first = intervals_over_pairs(*curve, TARGETS, 50, seed=1)
    assert intervals_over_pairs(*curve, TARGETS, 50, seed=1) == first
    assert intervals_over_pairs(*curve, TARGETS, 50, seed=2) != first
