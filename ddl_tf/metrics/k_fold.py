"""Accuracy by k-fold cross-validation, with the numbers of InsightFace's `verification.py`.

Everything here works on squared Euclidean distances of unit embeddings, between 0 and 4, as that script does: a pair
is accepted when its distance is *below* the threshold. A similarity threshold is `1 - distance / 2`.
"""

import numpy as np

from ddl_tf.common.errors import InputError

ACCURACY_THRESHOLDS = np.arange(0, 4, 0.01)
FAR_THRESHOLDS = np.arange(0, 4, 0.001)


def usable_folds(same: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Number the folds to evaluate with: the official ones if there are at least two.

    The threshold of a fold comes from the other folds, so a single fold (one of CFP, say) cannot be evaluated. Its same
    pairs and its different pairs are cut, each in their order, into ten contiguous parts (fewer if a class has fewer
    than ten pairs), so that every fold holds both classes.

    Args:
        same: `[pairs]` bool.
        fold: `[pairs]` int, any numbers.

    Returns:
        `[pairs]` int, from 0 without gaps.

    Raises:
        InputError: if there are fewer than two same or two different pairs.

    Example:
        >>> usable_folds(np.array([True, False, True, False]), np.array([3, 3, 4, 4]))
        array([0, 0, 1, 1])
    """
    num_same, num_different = int(np.sum(same)), int(np.sum(~same))
    if min(num_same, num_different) < 2:
        raise InputError(
            f"{num_same} same and {num_different} different pairs: verification needs at least 2 of each; "
            "use a larger set of pairs"
        )
    numbers, folds = np.unique(fold, return_inverse=True)
    if len(numbers) > 1:
        return folds
    num_folds = min(10, num_same, num_different)
    folds = np.empty(len(same), dtype=np.int64)
    for members in (np.flatnonzero(same), np.flatnonzero(~same)):
        for number, part in enumerate(np.array_split(members, num_folds)):
            folds[part] = number
    return folds


def _accepted(distance: np.ndarray, fold: np.ndarray, num_folds: int, thresholds: np.ndarray) -> np.ndarray:
    """Count the distances below each threshold in each fold: `[folds, thresholds]`."""
    return np.stack([np.searchsorted(np.sort(distance[fold == k]), thresholds) for k in range(num_folds)])


def k_fold_correct(distance: np.ndarray, same: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Decide on each pair at the threshold of `k_fold_accuracy`: `[pairs]` bool, whether the decision is right."""
    num_folds = int(fold.max()) + 1
    correct = (
        _accepted(distance[same], fold[same], num_folds, ACCURACY_THRESHOLDS)
        - _accepted(distance[~same], fold[~same], num_folds, ACCURACY_THRESHOLDS)
        + np.bincount(fold[~same], minlength=num_folds)[:, np.newaxis]
    )
    # With one number of training pairs a fold, the largest accuracy is the largest count.
    best = np.argmax(correct.sum(axis=0) - correct, axis=1)
    return (distance < ACCURACY_THRESHOLDS[best][fold]) == same


def k_fold_accuracy(distance: np.ndarray, same: np.ndarray, fold: np.ndarray) -> np.ndarray:
    """Compute the verification accuracy of each fold at the threshold that is best on the other folds.

    These are the accuracies of `calculate_roc` of InsightFace's `verification.py`, for folds of any shape: thresholds
    0, 0.01, ..., 3.99, the smallest of equally good ones. They are low if a fold holds one class only (lists that name
    all same pairs first): the other folds then favour the other class.

    Args:
        distance: `[pairs]` squared distances of unit embeddings, 0..4.
        same: `[pairs]` bool.
        fold: `[pairs]` int, as of `usable_folds`.

    Returns:
        `[folds]`, each 0..1; the reported accuracy is their mean.

    Example:
        >>> distance, same = np.array([0.2, 1.9, 0.3, 1.8]), np.array([True, False, True, False])
        >>> k_fold_accuracy(distance, same, np.array([0, 0, 1, 1]))  # 0.21, best on fold 0, rejects 0.3 in fold 1
        array([1. , 0.5])

    References:
        https://github.com/deepinsight/insightface, recognition/arcface_torch/eval/verification.py
    """
    return np.bincount(fold, k_fold_correct(distance, same, fold)) / np.bincount(fold)


def best_threshold(distance: np.ndarray, same: np.ndarray) -> tuple[float, float]:
    """Find the threshold of best accuracy over all pairs, as a cosine similarity, and that accuracy.

    The accuracy is somewhat optimistic, as the threshold is chosen on the same pairs; but it does not depend on folds.

    Args:
        distance: `[pairs]` squared distances of unit embeddings, 0..4.
        same: `[pairs]` bool.

    Returns:
        The similarity above which pairs are accepted, -1..1, the largest of equally good ones; and the accuracy, 0..1.
    """
    accepted = [np.searchsorted(np.sort(distance[chosen]), ACCURACY_THRESHOLDS) for chosen in (same, ~same)]
    correct = accepted[0] - accepted[1] + np.sum(~same)
    best = np.argmax(correct)
    return float(1 - ACCURACY_THRESHOLDS[best] / 2), float(correct[best] / len(same))


def k_fold_tar(
    distance: np.ndarray, same: np.ndarray, fold: np.ndarray, far_target: float = 1e-3
) -> tuple[np.ndarray, np.ndarray]:
    """Compute the true and false accept rates of each fold at the threshold that has a given FAR on the others.

    It is `calculate_val` of InsightFace's `verification.py`, whose `val` and `far` are the means: thresholds 0, 0.001,
    ..., 3.999, linearly interpolated to the target; 0, which accepts nothing, if the target is not reached. (That
    script needs an old SciPy such as 1.5: newer ones refuse to interpolate over repeated rates.)

    Args:
        distance: `[pairs]` squared distances of unit embeddings, 0..4.
        same: `[pairs]` bool.
        fold: `[pairs]` int, as of `usable_folds`.
        far_target: false accept rate, 0..1.

    Returns:
        `[folds]` true and `[folds]` false accept rates, 0..1. Folds that lack a class, or whose other folds hold no
        different pair, are left out.
    """
    num_folds = int(fold.max()) + 1
    accepted = _accepted(distance[~same], fold[~same], num_folds, FAR_THRESHOLDS)
    different = np.bincount(fold[~same], minlength=num_folds)
    tar, far = [], []
    for k in range(num_folds):
        test, num_train = fold == k, different.sum() - different[k]
        if not (num_train and different[k] and np.any(same & test)):
            continue
        far_train = (accepted.sum(axis=0) - accepted[k]) / num_train
        threshold = np.interp(far_target, far_train, FAR_THRESHOLDS) if far_train.max() >= far_target else 0.0
        tar.append(np.mean(distance[test & same] < threshold))
        far.append(np.mean(distance[test & ~same] < threshold))
    return np.array(tar), np.array(far)
