"""The ROC of millions of pairs, and its reading by the rule of InsightFace's IJB script."""

import numpy as np


def corner_roc(similarity: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the ROC without the points that lie evenly on a line: `sklearn.metrics.roc_curve` as it is by default.

    The same points to the last digit, in a fraction of its time on many pairs.

    Args:
        similarity: `[pairs]` float64.
        same: `[pairs]` bool, with both classes present.

    Returns:
        False accepts and true accepts, counted: each `[points]` int64, rising from 0.

    Example:
        >>> similarity = np.array([0.9, 0.8, 0.7, 0.6, 0.5])
        >>> far, tar = corner_roc(similarity, np.array([True, True, True, False, False]))
        >>> far.tolist(), tar.tolist()
        ([0, 0, 0, 2], [0, 1, 3, 3])
    """
    ascending = np.sort(similarity)
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    # Few pairs are same: where their values begin is looked up, instead of sorting all labels along.
    own = np.searchsorted(starts, np.searchsorted(ascending, np.sort(similarity[same])))
    true = np.cumsum(np.bincount(own, minlength=len(starts))[::-1])
    false = len(similarity) - starts[::-1] - true
    if len(true) > 2:
        bend = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.flatnonzero(np.concatenate([[True], bend, [True]]))
        false, true = false[kept], true[kept]
    return np.concatenate([[0], false]), np.concatenate([[0], true])


def nearest_tar(far: np.ndarray, tar: np.ndarray, far_target: float) -> float:
    """Read the true accept rate at the point of the ROC whose false accept rate is nearest to a target.

    The rule of `ijb_11.py`: of points with one FAR the highest, of two equally near ones that of the larger FAR. The
    nearest point may have a FAR above the target.

    Args:
        far: `[points]` false accept rates, rising; of the corners, for the numbers of `ijb_11.py`.
        tar: `[points]` true accept rates.
        far_target: 0..1.

    Returns:
        0..1.

    Example:
        >>> nearest_tar(np.array([0.0, 0.0, 0.2, 1.0]), np.array([0.0, 0.5, 0.5, 1.0]), 0.01)
        0.5

    References:
        https://github.com/deepinsight/insightface, recognition/_evaluation_/ijb/ijb_11.py
    """
    return float(tar[len(far) - 1 - np.argmin(np.abs(far[::-1] - far_target))])
