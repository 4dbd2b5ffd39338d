"""The receiver operating characteristic of a set of pairs, and the numbers read from it."""

import numpy as np
from sklearn import metrics

FAR_TARGETS = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}


def roc_curve(similarity: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the full ROC, with a point for every distinct similarity.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool, with both classes.

    Returns:
        False accept rates and true accept rates, each `[points]`, rising from 0 to 1.
    """
    far, tar, _ = metrics.roc_curve(same, similarity, drop_intermediate=False)
    return far, tar


def auc(far: np.ndarray, tar: np.ndarray) -> float:
    """Compute the area under the ROC `[points]`: the chance that a same pair is more similar than a different one."""
    return float(metrics.auc(far, tar))


def eer(far: np.ndarray, tar: np.ndarray) -> float:
    """Compute the equal error rate, 0..1, at which the ROC `[points]`, linearly interpolated, has FAR = 1 - TAR."""
    # Every point of the full ROC accepts at least one pair more than the last, so FAR + TAR rises strictly.
    return float(np.interp(1.0, far + tar, far))


def tar_at_far(far: np.ndarray, tar: np.ndarray, far_target: float) -> float:
    """Compute the true accept rate at the largest false accept rate that is not above a target, without interpolation.

    Args:
        far: `[points]` false accept rates of `roc_curve`.
        tar: `[points]` true accept rates of `roc_curve`.
        far_target: 0..1; below 1 / different pairs, the rate is that at FAR 0.

    Returns:
        0..1.

    Example:
        >>> far, tar = roc_curve(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
        >>> tar_at_far(far, tar, 0.1), tar_at_far(far, tar, 0.5)
        (0.5, 1.0)
    """
    return float(tar[np.searchsorted(far, far_target, side="right") - 1])
