"""The numbers of stored results: which there are, what they are called, and what they mean."""

from collections.abc import Mapping
from typing import Any, Optional

# Of a result, not how good the model is.
_LEFT_OUT = ("threshold", "mean_same", "mean_different", "val", "intervals", "folds", "seed", "replicates", "far")

_TITLES = {
    "accuracy": "accuracy",
    "threshold_accuracy": "accuracy, best threshold",
    "auc": "AUC",
    "eer": "EER",
    "expectation_margin": "expectation margin",
    "map": "mAP",
}
_MEANINGS = {
    "accuracy": "accuracy: share of right decisions by k-fold cross-validation",
    "threshold_accuracy": "accuracy, best threshold: share of right decisions at the one threshold that is best on all pairs",
    "auc": "AUC: the chance that a same pair is more similar than a different one",
    "eer": "EER: where false accepts are as frequent as missed matches; lower is better",
    "tar": "TAR@FAR: share of same pairs accepted at a false accept rate of FAR",
    "expectation_margin": "expectation margin: mean similarity of same pairs less that of different ones",
    "rank": "rank-k: share of probes whose mate is among the k most similar of the gallery",
    "tpir": "TPIR@FPIR: share of probes identified at rank 1 above the threshold of that false positive rate",
    "map": "mAP: mean average precision over the probes",
}


def numbers_of(result: Mapping[str, Any]) -> dict[str, float]:
    """List the numbers that say how good a model is on a set.

    Args:
        result: of a protocol; rates are floats, counts are ints. Numbers of a dictionary are named `tar@1e-2`.

    Returns:
        name -> value, in the order of the result; deviations, thresholds and counts are left out.

    Example:
        >>> numbers_of({"set": "lfw", "pairs": 10, "auc": 0.9, "tar": {"1e-2": 0.5}, "accuracy_std": 0.1})
        {'auc': 0.9, 'tar@1e-2': 0.5}
    """
    numbers: dict[str, float] = {}
    for name, value in result.items():
        if name in _LEFT_OUT or name.endswith("_std"):
            continue
        if isinstance(value, float):
            numbers[name] = value
        elif isinstance(value, Mapping):
            numbers.update({f"{name}@{key}": one for key, one in numbers_of(value).items()})
    return numbers


def interval_of(result: Mapping[str, Any], number: str) -> Optional[tuple[float, float]]:
    """Read the 95% interval of a number of `numbers_of`; None if the result has none."""
    interval = result.get("intervals", {}).get(number)
    return None if interval is None else (float(interval[0]), float(interval[1]))


def lower_is_better(number: str) -> bool:
    """Tell whether a number is an error."""
    return any(word in number.lower() for word in ("eer", "error", "fnir", "fnmr", "fpir@", "missed", "gap"))


def title_of(number: str) -> str:
    """Name a number for a person.

    Example:
        >>> title_of("tar@1e-2"), title_of("auc"), title_of("rank1")
        ('TAR@1e-2', 'AUC', 'rank-1')
    """
    name, *keys = number.split("@")
    if name in _TITLES:
        title = _TITLES[name]
    elif name.startswith("rank") and name[4:].isdigit():
        title = f"rank-{name[4:]}"
    else:
        title = name.upper() if name in ("tar", "tpir", "fnir") else name.replace("_", " ")
    return "@".join([title, *keys])


def meanings_of(numbers: list[str]) -> str:
    """Explain numbers in one line; what has no explanation is left out."""
    found: dict[str, None] = {}
    for number in numbers:
        name = number.split("@")[0]
        name = "rank" if name.startswith("rank") else name
        if name in _MEANINGS:
            found[_MEANINGS[name]] = None
    return "; ".join(found)
