import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import roc
from ddl_tf.metrics.k_fold import best_threshold, k_fold_accuracy
from ddl_tf.metrics.templates import NEVER
from ddl_tf.metrics.weighted import WeightedPairs


@pytest.fixture
def pairs():
    random = np.random.default_rng(0)
    same = random.random(300) < 0.4
    # Rounded, so that there are ties within and between the classes.
    similarity = np.round(0.3 * random.normal(size=300) + 0.3 * same, 2)
    return similarity, same, random.integers(0, 5, 300)


def test_weights_are_repetitions(pairs):
    similarity, same, fold = pairs
    weights = np.random.default_rng(0).poisson(1, 300)
    numbers = WeightedPairs(similarity, same, fold).numbers(weights)
    # The second way: the pairs are repeated, and the numbers are those of evaluation itself.
    similarity, same, fold = (np.repeat(column, weights) for column in pairs)
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


def test_a_fold_without_weight_does_not_count(pairs):
    similarity, same, fold = pairs
    weights = (fold != 4).astype(int)
    kept = fold != 4
    numbers = WeightedPairs(similarity, same, fold).numbers(weights)
    expected = k_fold_accuracy(2 - 2 * similarity[kept], same[kept], fold[kept]).mean()
    assert numbers["accuracy"] == pytest.approx(expected, abs=1e-12)


def test_a_pair_without_an_image_is_in_no_mean(pairs):
    similarity, same, _ = pairs
    lost = np.arange(len(same)) % 7 == 0
    similarity = np.where(lost, NEVER, similarity)
    numbers = WeightedPairs(similarity, same, far_targets={"half": 0.5}).numbers(np.ones(len(same)))
    assert numbers["mean_same"] == pytest.approx(similarity[same & ~lost].mean(), abs=1e-12)
    assert numbers["mean_different"] == pytest.approx(similarity[~same & ~lost].mean(), abs=1e-12)
    # But it is never accepted.
    assert numbers["tar@half"] == roc.tar_at_far(*roc.roc_curve(similarity, same), 0.5)
    assert not {"accuracy", "tar@1e-1"} & set(numbers)


@pytest.mark.parametrize(
    "similarity, same, fold, message",
    [
        ([0.1, 0.2], [True, False, True], None, r"shapes \[\(2,\), \(3,\)\]"),
        ([0.1, 0.2], [True, False], [0], r"shapes \[\(2,\), \(2,\), \(1,\)\]"),
        ([0.1, np.nan], [True, False], None, "1 similarities are not finite"),
        ([0.1, 0.2], [True, True], None, "same and different pairs are needed, got 2 same of 2"),
    ],
)
def test_refusals(similarity, same, fold, message):
    with pytest.raises(InputError, match=message):
        WeightedPairs(np.array(similarity), np.array(same), None if fold is None else np.array(fold))
