import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import roc
from ddl_tf.metrics.k_fold import best_threshold, k_fold_accuracy
from ddl_tf.metrics.templates import NEVER
from ddl_tf.metrics.weighted import WeightedPairs


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
    "similarity, same, fold, message",
    [
        ([0.1, 0.2], [True, False, True], [0, 1], r"shapes \[\(2,\), \(3,\), \(2,\)\]"),
        ([0.1, np.nan], [True, False], None, "1 similarities are not finite"),
        ([0.1, 0.2], [True, True], None, "2 of 2 pairs are same ones"),
    ],
)
def test_refusals(similarity, same, fold, message):
    with pytest.raises(InputError, match=message):
        WeightedPairs(np.array(similarity), np.array(same), None if fold is None else np.array(fold))
