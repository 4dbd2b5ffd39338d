import json
import runpy
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import k_fold

GOLDEN = Path(__file__).parents[1] / "golden"
CASES = runpy.run_path(str(GOLDEN / "make_verification_golden.py"))["cases"]()


def _distance(embeddings):
    return np.sum((embeddings[0::2] - embeddings[1::2]) ** 2, axis=1)


@pytest.mark.parametrize("name", CASES)
def test_equals_insightface(name):
    embeddings, same = CASES[name]
    golden = json.loads((GOLDEN / "verification_golden.json").read_text())[name]
    # As scikit-learn's KFold.
    fold = np.repeat(np.arange(10), [len(part) for part in np.array_split(same, 10)])
    distance = _distance(embeddings)
    np.testing.assert_allclose(k_fold.k_fold_accuracy(distance, same, fold), golden["accuracy"], rtol=0, atol=1e-12)
    tar, far = k_fold.k_fold_tar(distance, same, fold)
    if "val" not in golden:
        assert len(tar) == len(far) == 0
        return
    numbers = {"val": tar.mean(), "val_std": tar.std(), "far": far.mean()}
    assert numbers == pytest.approx({key: golden[key] for key in numbers}, rel=0, abs=1e-12)


def test_official_folds_of_any_shape():
    embeddings, same = CASES["hard"]
    distance, thresholds, expected = _distance(embeddings), np.arange(0, 4, 0.01), []
    fold = np.random.RandomState(0).choice(3, size=len(same), p=[0.6, 0.3, 0.1])
    for k in range(3):
        train, test = fold != k, fold == k
        scores = [np.mean((distance[train] < t) == same[train]) for t in thresholds]
        expected.append(np.mean((distance[test] < thresholds[np.argmax(scores)]) == same[test]))
    np.testing.assert_allclose(k_fold.k_fold_accuracy(distance, same, fold), expected, rtol=0, atol=1e-12)


def test_best_threshold_is_the_naive_one():
    embeddings, same = CASES["hard"]
    distance, thresholds = _distance(embeddings), np.arange(0, 4, 0.01)
    accuracies = [np.mean((distance < t) == same) for t in thresholds]
    naive = thresholds[np.argmax(accuracies)]
    threshold, accuracy = k_fold.best_threshold(distance, same)
    assert (threshold, accuracy) == pytest.approx((1 - naive / 2, max(accuracies)))
    np.testing.assert_array_equal(1 - distance / 2 > threshold, distance < naive)


def test_usable_folds():
    same = np.array([True, False] * 3)
    np.testing.assert_array_equal(k_fold.usable_folds(same, np.array([4, 4, 9, 9, 5, 5])), [0, 0, 2, 2, 1, 1])
    # CFP: a fold lists its 350 same pairs, then its 350 different pairs.
    same = np.arange(700) < 350
    fold = k_fold.usable_folds(same, np.full(700, 4))
    np.testing.assert_array_equal(np.bincount(fold[same]), [35] * 10)
    assert np.all(np.diff(fold[:350]) >= 0)
    np.testing.assert_array_equal(fold[:350], fold[350:])
    # A single small fold has fewer parts.
    fold = k_fold.usable_folds(np.array([True] * 7 + [False] * 3), np.zeros(10, int))
    np.testing.assert_array_equal(fold, [0, 0, 0, 1, 1, 2, 2, 0, 1, 2])


@pytest.mark.parametrize("same", [[True] * 9, [False] * 9, [True] + [False] * 8, []])
def test_too_few_pairs_of_a_class(same):
    with pytest.raises(InputError, match=f"^{sum(same)} same and .* at least 2 of each"):
        k_fold.usable_folds(np.array(same, bool), np.arange(len(same)))


def test_folds_without_a_class_have_no_accept_rate():
    same, fold = np.array([True, True, False, False, True]), np.array([0, 1, 0, 1, 2])
    tar, far = k_fold.k_fold_tar(np.array([0.1, 0.2, 1.0, 1.1, 0.3]), same, fold)
    assert len(tar) == len(far) == 2
