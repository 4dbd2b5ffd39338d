"""The receiver operating characteristic of a set of pairs, and the numbers read from it."""

import numpy as np

FAR_TARGETS = {"1e-1": 1e-1, "1e-2": 1e-2, "1e-3": 1e-3, "1e-4": 1e-4}


def roc_curve(similarity: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Compute the full ROC of `[pairs]`, both classes among them, with a point for every distinct similarity.

    Returns:
        False accept rates and true accept rates, each `[points]`, rising from 0 to 1.
    """
    falling = np.argsort(-similarity, kind="stable")
    # The last pair of each distinct similarity: pairs that are equally similar are accepted together.
    ends = np.append(np.flatnonzero(np.diff(similarity[falling])), len(same) - 1)
    accepted_same = np.cumsum(np.asarray(same, bool)[falling])[ends]
    far, tar = (np.append(0, accepted) for accepted in (1 + ends - accepted_same, accepted_same))
    return far / far[-1], tar / tar[-1]


def auc(far: np.ndarray, tar: np.ndarray) -> float:
    """Compute the area under the ROC `[points]`: the chance that a same pair is more similar than a different one."""
    return float(np.sum(np.diff(far) * (tar[1:] + tar[:-1]) / 2))


def eer(far: np.ndarray, tar: np.ndarray) -> float:
    """Compute the equal error rate, 0..1, at which the ROC `[points]`, linearly interpolated, has FAR = 1 - TAR."""
    # Every point of the full ROC accepts at least one pair more than the last, so FAR + TAR rises strictly.
    return float(np.interp(1.0, far + tar, far))


def tar_at_far(far: np.ndarray, tar: np.ndarray, far_target: float) -> float:
    """Compute the true accept rate at the largest false accept rate that is not above a target, without interpolation.

    `far` and `tar` `[points]` are those of `roc_curve`. With fewer than `1 / far_target` different pairs it is the rate
    at FAR 0.

    Example:
        >>> far, tar = roc_curve(np.array([0.9, 0.8, 0.7, 0.1]), np.array([True, False, True, False]))
        >>> tar_at_far(far, tar, 0.1), tar_at_far(far, tar, 0.5)
        (0.5, 1.0)
    """
    return float(tar[np.searchsorted(far, far_target, side="right") - 1])


def threshold_at_far(similarity: np.ndarray, same: np.ndarray, far: float) -> float:
    """Find the lowest threshold whose false accept rate is not above `far`, which is above 0 and below 1.

    Args:
        similarity: `[pairs]` cosine similarities.
        same: `[pairs]` bool, whether a pair shows one person.
        far: the false accept rate.

    Returns:
        A number of float32, as the served model compares: pairs of that similarity or above are accepted.

    Example:
        >>> round(threshold_at_far(np.array([0.9, 0.5, 0.4, 0.3, 0.2]), np.array([True] + 4 * [False]), 0.25), 3)
        0.4
    """
    different = np.sort(similarity[~same].astype(np.float32))[::-1]
    # As a product of floats, 0.01 of 300 may come out below 3.
    allowed = int(np.floor(far * len(different) * (1 + 1e-9)))
    # The first that must be rejected, with all that equal it.
    return float(np.nextafter(different[allowed], np.float32(np.inf)))


def corner_roc(similarity: np.ndarray, same: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Count the false and true accepts at the corners of scikit-learn's `roc_curve`: `[points]` int64, from 0."""
    ascending = np.sort(similarity)
    starts = np.flatnonzero(np.concatenate([[True], ascending[1:] != ascending[:-1]]))
    # Few pairs are same: the places of their values are looked up, instead of sorting all labels along.
    places = np.searchsorted(starts, np.searchsorted(ascending, np.sort(similarity[same])))
    true = np.cumsum(np.bincount(places, minlength=len(starts))[::-1])
    false = len(similarity) - starts[::-1] - true
    if len(true) > 2:
        bend = (np.diff(false, 2) != 0) | (np.diff(true, 2) != 0)
        kept = np.flatnonzero(np.concatenate([[True], bend, [True]]))
        false, true = false[kept], true[kept]
    return np.concatenate([[0], false]), np.concatenate([[0], true])


def nearest_tar(far: np.ndarray, tar: np.ndarray, far_target: float) -> float:
    """Read the TAR at the FAR nearest to a target, as InsightFace's `ijb_11.py`: of ties the larger FAR, then TAR."""
    return float(tar[len(far) - 1 - np.argmin(np.abs(far[::-1] - far_target))])
