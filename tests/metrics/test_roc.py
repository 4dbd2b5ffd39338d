import numpy as np
import pytest
from sklearn import metrics

from ddl_tf.metrics import roc


@pytest.fixture
def scores():
    random = np.random.RandomState(0)
    same = random.rand(800) < 0.4
    # Rounded, so that there are ties within and between the classes.
    return np.round(random.normal(size=800) + 1.5 * same, 2), same


@pytest.mark.parametrize("target", [0.5, 1e-1, 1e-2, 1e-3, 1e-4])
def test_tar_at_far_is_reached_by_a_threshold(scores, target):
    similarity, same = scores
    naive = 0.0
    for threshold in np.unique(similarity):
        if np.mean(similarity[~same] >= threshold) <= target:
            naive = max(naive, np.mean(similarity[same] >= threshold))
    assert roc.tar_at_far(*roc.roc_curve(similarity, same), target) == pytest.approx(naive, abs=1e-12)


def test_a_far_equal_to_the_target_counts():
    # 1 of 1,000 different pairs lies above half of the same pairs.
    similarity = np.concatenate([[0.9, 0.5], [0.7], np.zeros(999)])
    same = np.arange(1002) < 2
    far, tar = roc.roc_curve(similarity, same)
    assert roc.tar_at_far(far, tar, 1e-3) == 1.0
    assert roc.tar_at_far(far, tar, 0.99e-3) == 0.5


def test_eer_lies_on_the_interpolated_curve(scores):
    far, tar = roc.roc_curve(*scores)
    rates = np.linspace(0, 1, 200001)
    # Where the curve is vertical np.interp takes its top, which is off by less than the grid here.
    naive = rates[np.argmin(np.abs(rates - (1 - np.interp(rates, far, tar))))]
    assert roc.eer(far, tar) == pytest.approx(naive, abs=1 / np.sum(~scores[1]))


def test_eer_by_hand():
    for similarity, expected in (
        ([0.9, 0.8, 0.2, 0.1], 0.0),
        ([0.1, 0.2, 0.8, 0.9], 1.0),
        ([0.5, 0.5, 0.5, 0.5], 0.5),
        ([0.9, 0.2, 0.8, 0.1], 0.5),
    ):
        assert roc.eer(*roc.roc_curve(np.array(similarity), np.arange(4) < 2)) == pytest.approx(expected)


def many_pairs(seed, same=300, different=5000, digits=None):
    random = np.random.RandomState(seed)
    similarity = np.r_[random.normal(0.4, 0.2, same), random.normal(0, 0.15, different)]
    order = random.permutation(len(similarity))
    similarity = similarity if digits is None else similarity.round(digits)
    return similarity[order], (np.arange(len(similarity)) < same)[order]


FEW = [[0.5] * 4, [0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.8, 0.9], [0.5, 0.5, 0.5, 0.7]]


@pytest.mark.parametrize(
    "similarity, same",
    [
        *(many_pairs(0, digits=digits) for digits in (None, 2, 0)),
        *((np.array(similarity), np.array([True, True, False, False])) for similarity in FEW),
    ],
)
def test_equals_scikit_learn(similarity, same):
    far, tar, _ = metrics.roc_curve(same, similarity)
    false, true = roc.corner_roc(similarity, same)
    np.testing.assert_array_equal([false / false[-1], true / true[-1]], [far, tar])


@pytest.mark.parametrize("digits", [None, 2, 0])
@pytest.mark.parametrize("target", [1e-6, 1e-4, 1e-3, 1e-2, 1e-1])
def test_nearest_as_insightface_reads_it(digits, target):
    similarity, same = many_pairs(1, digits=digits)
    far, tar, _ = metrics.roc_curve(same, similarity)
    flipped = list(far)[::-1]
    distance, place = min((abs(value - target), place) for place, value in enumerate(flipped))
    assert distance <= 1
    assert roc.nearest_tar(far, tar, target) == list(tar)[::-1][place]


def test_nearest_takes_the_top_of_a_step_and_the_larger_far_of_two():
    far, tar = np.array([0.0, 0.0, 0.25, 0.75, 1.0]), np.array([0.0, 0.1, 0.2, 0.6, 1.0])
    assert roc.nearest_tar(far, tar, 0.0) == 0.1
    assert roc.nearest_tar(far, tar, 0.5) == 0.6
    # Above the target, because it is nearer.
    assert roc.nearest_tar(far, tar, 0.2) == 0.2
