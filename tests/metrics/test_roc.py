import numpy as np
import pytest
from sklearn import metrics

from ddl_tf.metrics import roc


def test_numbers_against_naive_ones():
    random = np.random.RandomState(0)
    same = random.rand(800) < 0.4
    # Rounded, so that there are ties within and between the classes.
    similarity = np.round(random.normal(size=800) + 1.5 * same, 2)
    far, tar = roc.roc_curve(similarity, same)
    of_scikit_learn = metrics.roc_curve(same, similarity, drop_intermediate=False)[:2]
    np.testing.assert_array_equal([far, tar], of_scikit_learn)
    pairs = similarity[same][:, np.newaxis] - similarity[~same][np.newaxis, :]
    assert roc.auc(far, tar) == pytest.approx(np.mean((pairs > 0) + 0.5 * (pairs == 0)), abs=1e-12)
    rates = np.linspace(0, 1, 200001)
    # Where the curve is vertical np.interp takes its top, which is off by less than the grid here.
    naive = rates[np.argmin(np.abs(rates - (1 - np.interp(rates, far, tar))))]
    assert roc.eer(far, tar) == pytest.approx(naive, abs=1 / np.sum(~same))
    accepted = [similarity >= threshold for threshold in np.unique(similarity)]
    for target in (0.5, 1e-1, 1e-2, 1e-3, 1e-4):
        naive = max((np.mean(yes[same]) for yes in accepted if np.mean(yes[~same]) <= target), default=0)
        assert roc.tar_at_far(far, tar, target) == pytest.approx(naive, abs=1e-12)
    # A FAR equal to the target counts: 1 of 1,000 different pairs lies above half of the same pairs.
    curve = roc.roc_curve(np.concatenate([[0.9, 0.5], [0.7], np.zeros(999)]), np.arange(1002) < 2)
    assert [roc.tar_at_far(*curve, target) for target in (1e-3, 0.99e-3)] == [1.0, 0.5]
    rows = [[0.9, 0.8, 0.2, 0.1], [0.1, 0.2, 0.8, 0.9], [0.5] * 4, [0.9, 0.2, 0.8, 0.1]]
    curves = [roc.roc_curve(np.array(row), np.arange(4) < 2) for row in rows]
    assert [roc.eer(*curve) for curve in curves] == pytest.approx([0, 1, 0.5, 0.5])


@pytest.mark.parametrize("digits", [None, 2, 0])
def test_corners_and_nearest_point_against_scikit_learn_and_insightface(digits):
    random = np.random.RandomState(0)
    similarity = np.r_[random.normal(0.4, 0.2, 300), random.normal(0, 0.15, 5000)]
    many, order = similarity if digits is None else similarity.round(digits), random.permutation(5300)
    for similarity, same in ((many[order], order < 300), (np.array([0.5, 0.5, 0.5, 0.7]), np.arange(4) < 2)):
        far, tar, _ = metrics.roc_curve(same, similarity)
        false, true = roc.corner_roc(similarity, same)
        np.testing.assert_array_equal([false / false[-1], true / true[-1]], [far, tar])
        flipped = list(far)[::-1]
        for target in (1e-6, 1e-4, 1e-3, 1e-2, 1e-1, 0.5):
            _, place = min((abs(value - target), place) for place, value in enumerate(flipped))
            assert roc.nearest_tar(far, tar, target) == list(tar)[::-1][place]


def test_the_false_accept_rate_is_kept_and_none_lower_would_do():
    random = np.random.RandomState(0)
    similarity = np.concatenate([random.normal(0.1, 0.15, 1000), random.normal(0.6, 0.15, 500)])
    same = np.arange(1500) >= 1000
    rounded = similarity.astype(np.float32)
    for far in (0.5, 0.1, 0.01, 0.003):
        value = roc.threshold_at_far(similarity, same, far)
        different = sorted(rounded[~same].tolist(), reverse=True)
        accepted = round(far * 1000)
        assert different[accepted - 1] >= value > different[accepted]
        # The evaluation's own rate of the same pairs.
        tar = np.mean([similarity >= value for similarity in rounded[same].tolist()])
        assert tar == pytest.approx(roc.tar_at_far(*roc.roc_curve(similarity, same), far), abs=1e-9)
    # Equal ones are all rejected.
    similarity, same = np.array([0.9, 0.5, 0.5, 0.5, 0.1, 0.8]), np.arange(6) == 5
    assert 0.5 < roc.threshold_at_far(similarity, same, 0.4) < 0.5001
