import numpy as np
import pytest

from ddl_tf.metrics import template_bootstrap as module
from ddl_tf.metrics.bootstrap import percentile_interval
from ddl_tf.metrics.roc import auc, eer, nearest_tar, roc_curve
from ddl_tf.metrics.template_bootstrap import replicates_over_people

TARGETS = {"1e-3": 1e-3, "1e-2": 1e-2, "1e-1": 1e-1}


def _people(seed, people=60, same=400, different=6000):
    """Pairs of people of whom some are hard to recognise."""
    random = np.random.RandomState(seed)
    hardness = random.normal(0, 0.15, people)
    first = random.randint(0, people, same + different)
    second = np.where(np.arange(len(first)) < same, first, (first + random.randint(1, people, len(first))) % people)
    similarity = np.where(first == second, 0.45 - hardness[first], hardness[first] / 2)
    similarity += random.normal(0, 0.1, len(first))
    order = random.permutation(len(first))
    return similarity[order], (first == second)[order], first[order], second[order]


def _repeated(similarity, same, first, second, replicates, seed):
    """Numbers of sets in which each pair is repeated as often as its people were drawn."""
    random = np.random.default_rng(seed)
    for _ in range(replicates):
        times = np.bincount(random.integers(0, 60, 60), minlength=60)
        repeated = np.repeat(np.arange(len(same)), np.where(same, times[first], times[first] * times[second]))
        similarities, labels = similarity[repeated], same[repeated]
        # The points at the same pairs, by hand: repeated pairs are ties, at which scikit-learn has further points.
        points = [(0.0, 0.0), (1.0, 1.0)]
        for threshold in np.unique(similarity[same]):
            for accepted in (similarities > threshold, similarities >= threshold):
                points.append((np.mean(accepted[~labels]), np.mean(accepted[labels])))
        far, tar = np.array(sorted(points)).T
        curve = roc_curve(similarities, labels)
        yield [auc(*curve), eer(*curve), *(nearest_tar(far, tar, target) for target in TARGETS.values())]


@pytest.mark.parametrize("digits", [9, 2])
def test_over_people_as_of_pairs_repeated_with_their_people(monkeypatch, digits):
    # Small blocks, so that there are several; with two digits many pairs are equally similar.
    monkeypatch.setattr(module, "_TOGETHER", 7)
    monkeypatch.setattr(module, "_ROWS", 100)
    similarity, same, first, second = _people(0, same=150, different=3000)
    similarity = np.round(similarity, digits)
    people = np.arange(60).astype(str)
    values = replicates_over_people(similarity, same, people[first], people[second], TARGETS, 20, seed=5)
    # People are numbered in the order of their names.
    place = np.argsort(np.argsort(people))
    expected = np.array(list(_repeated(similarity, same, place[first], place[second], 20, 5)))
    assert list(values) == ["auc", "eer", *(f"tar@{name}" for name in TARGETS)]
    np.testing.assert_allclose(np.stack(list(values.values()), axis=1), expected, atol=1e-9)


def test_fewer_points_of_the_roc_hardly_change_the_intervals(monkeypatch):
    def intervals():
        values = replicates_over_people(*_people(0, different=2500), TARGETS, 200, seed=5)
        return {name: percentile_interval(column) for name, column in values.items()}

    exact = intervals()
    # Too few false accepts at 1e-3 for an interval.
    assert list(exact) == ["auc", "eer", "tar@1e-2", "tar@1e-1"]
    monkeypatch.setattr(module, "_POINTS", 100)
    for name, ends in intervals().items():
        np.testing.assert_allclose(ends, exact[name], atol=0.012)
