import numpy as np
import pytest
from sklearn import metrics

from ddl_tf.metrics.template_roc import corner_roc, nearest_tar


def _pairs(seed, same=300, different=5000, digits=None):
    random = np.random.RandomState(seed)
    similarity = np.r_[random.normal(0.4, 0.2, same), random.normal(0, 0.15, different)]
    order = random.permutation(len(similarity))
    similarity = similarity if digits is None else similarity.round(digits)
    return similarity[order], (np.arange(len(similarity)) < same)[order]


@pytest.mark.parametrize("digits", [None, 3, 2, 1, 0])
def test_equals_scikit_learn(digits):
    similarity, same = _pairs(0, digits=digits)
    far, tar, _ = metrics.roc_curve(same, similarity)
    false, true = corner_roc(similarity, same)
    np.testing.assert_array_equal(false / false[-1], far)
    np.testing.assert_array_equal(true / true[-1], tar)


@pytest.mark.parametrize("similarity", [[0.5] * 4, [0.9, 0.8, 0.1, 0.2], [0.1, 0.2, 0.8, 0.9], [0.5, 0.5, 0.5, 0.7]])
def test_equals_scikit_learn_on_few(similarity):
    same = np.array([True, True, False, False])
    far, tar, _ = metrics.roc_curve(same, similarity)
    false, true = corner_roc(np.array(similarity), same)
    np.testing.assert_array_equal([false / 2, true / 2], [far, tar])


@pytest.mark.parametrize("digits", [None, 2, 0])
@pytest.mark.parametrize("target", [1e-6, 1e-4, 1e-3, 1e-2, 1e-1])
def test_nearest_as_insightface_reads_it(digits, target):
    similarity, same = _pairs(1, digits=digits)
    far, tar, _ = metrics.roc_curve(same, similarity)
    flipped = list(far)[::-1]
    distance, place = min((abs(value - target), place) for place, value in enumerate(flipped))
    assert distance <= 1
    assert nearest_tar(far, tar, target) == list(tar)[::-1][place]


def test_nearest_takes_the_top_of_a_step_and_the_larger_far_of_two():
    far, tar = np.array([0.0, 0.0, 0.25, 0.75, 1.0]), np.array([0.0, 0.1, 0.2, 0.6, 1.0])
    assert nearest_tar(far, tar, 0.0) == 0.1
    assert nearest_tar(far, tar, 0.5) == 0.6
    # Above the target, because it is nearer.
    assert nearest_tar(far, tar, 0.2) == 0.2
