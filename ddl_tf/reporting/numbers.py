"""The numbers of stored results: which there are, what they are called, and what they mean."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ddl_tf.evaluation.people_text import MEASURE_TITLES
from ddl_tf.evaluation.reports import flat_numbers, unreliable_numbers
from ddl_tf.metrics.bootstrap import MIN_FALSE_ACCEPTS

# Of a result, not how good the model is.
_LEFT_OUT = ("threshold", "mean_same", "mean_different", "val", "far", "fpir_reached", "pairs")

PARTS = {"verification": "verification", "identification": "identification", "open_set": "open set"}
# Parts of results that papers do not quote.
_BESIDE = {"error_rates": "error rates", "acquisition": "failures"}
_TITLES = {"threshold_accuracy": "accuracy, best threshold", "auc": "AUC", "eer": "EER", "map": "mAP"}
_RATES = ("tar", "tpir", "tpir20", "fnir", "fnmr", "fmr", "fpir", "gfar", "gfrr")
_MEANINGS = {
    "accuracy": "accuracy: share of right decisions by k-fold cross-validation",
    "threshold_accuracy": "accuracy, best threshold: share of right decisions at the one threshold that is best on "
    "all pairs",
    "auc": "AUC: the chance that a same pair is more similar than a different one",
    "eer": "EER: where false accepts are as frequent as missed matches; lower is better",
    "tar": "TAR@FAR: share of same pairs accepted at a false accept rate of FAR",
    "expectation_margin": "expectation margin: mean similarity of same pairs less that of different ones",
    "rank": "rank-k: share of probes whose mate is among the k most similar of the gallery",
    "tpir20": "TPIR20@FPIR: share of probes whose mate is among the first 20 and above the threshold of that rate",
    "tpir": "TPIR@FPIR: share of probes identified at rank 1 above the threshold of that false positive rate",
    "fnir": "FNIR@FPIR: share of probes not identified at rank 1 at the threshold of that false positive rate",
    "fnmr": "FNMR@FMR: share of pairs of one person that are rejected at the threshold of that false match rate",
    "fmr": "FMR, FPIR: what these rates are at the threshold, with its interval",
    "fta": "FTA: share of images without a usable face",
    "fte": "FTE: share of people without an image that can be enrolled",
    "gfrr": "GFAR, GFRR: false accepts and false rejects with these failures",
    "map": "mAP: mean average precision over the probes",
}


def numbers_of(result: Mapping[str, Any]) -> dict[str, float]:
    """List the numbers of a result that say how good a model is, without counts, deviations and thresholds."""
    return {
        name: number
        for name, number in flat_numbers(dict(result)).items()
        if isinstance(number, float) and not any(part in _LEFT_OUT or part.endswith("_std") for part in name.split("@"))
    }


def interval_of(result: Mapping[str, Any], number: str) -> Optional[tuple[float, float]]:
    """Read the 95% interval (low, high) of a number, by its name, also with "." for "@" and without its first part."""
    intervals = result.get("intervals", {})
    for name in (number, number.split("@", 1)[-1]):
        for spelled in (name, name.replace("@", ".")):
            if spelled in intervals and spelled:
                low, high = intervals[spelled]
                return float(low), float(high)
    return None


def is_countable(result: Mapping[str, Any], number: str) -> bool:
    """Return False for a rate at fewer than `MIN_FALSE_ACCEPTS` false accepts, by the result's list or its pairs."""
    if number in unreliable_numbers(result):
        return False
    *part, name, key = ["", *number.split("@")]
    counts = result.get(part[-1], result) if part and part[-1] else result
    if name != "tar" or not isinstance(counts, Mapping):
        return True
    if "impostor_pairs" in counts:
        return float(key) * counts["impostor_pairs"] >= MIN_FALSE_ACCEPTS - 1e-6
    if not {"pairs", "same"} <= counts.keys():
        return True
    return float(key) * (counts["pairs"] - counts["same"]) >= MIN_FALSE_ACCEPTS - 1e-6


def far_targets(result: Mapping[str, Any]) -> dict[str, float]:
    """List the false accept rates that a result has a TAR at, by the names that it gives them."""
    words = [number.split("@") for number in numbers_of(result)]
    return {parts[-1]: float(parts[-1]) for parts in words if len(parts) > 1 and parts[-2] == "tar"}


def lower_is_better(number: str) -> bool:
    """Return whether a number is an error."""
    errors = (
        "eer",
        "error",
        "fnir",
        "fpir",
        "fnmr",
        "fmr",
        "fta",
        "fte",
        "gfar",
        "gfrr",
        "missed",
        "gap",
        "std",
        "gini",
        "garbe",
        "inequity",
    )
    return any(word in number.lower() for word in errors)


def title_of(number: str) -> str:
    """Name a number for a person: "TAR@1e-2", "rank-1, d1", "open set: rank-5"."""
    first, *rest = number.split("@")
    if first in PARTS and rest[:1] == ["galleries"] and len(rest) > 2:
        return f"{PARTS[first]}, {rest[1]}: {title_of('@'.join(rest[2:]))}"
    if first == "differences" and len(rest) == 3:
        return f"{rest[0]}, {MEASURE_TITLES.get(rest[1], rest[1])} at FMR {rest[2]}"
    if first == "groups" and len(rest) > 2:
        return f"{rest[0]} {'@'.join(rest[1:-2])}: {title_of('@'.join(rest[-2:]))}"
    parts = {**PARTS, **_BESIDE}
    if first in parts and rest:
        return f"{parts[first]}: {title_of('@'.join(rest))}"
    if first in ("fta", "fte"):
        return first.upper()
    if first in _RATES and rest:
        return ", ".join([f"{first.upper()}@{rest[0]}", *rest[1:]])
    if first == "rank" and len(rest) == 1:
        first, rest = f"rank{rest[0]}", []
    name = f"rank-{first[4:]}" if first.startswith("rank") and first[4:].isdigit() else first.replace("_", " ")
    return ", ".join([_TITLES.get(first, name), *rest])


def meanings_of(numbers: Sequence[str]) -> str:
    """Explain numbers in one line; what has no explanation is left out."""
    words = ["rank" if word.startswith("rank") else word for number in numbers for word in number.split("@")]
    return "; ".join(_MEANINGS[word] for word in dict.fromkeys(words) if word in _MEANINGS)


def number_of_test(name: str, result: Mapping[str, Any]) -> Optional[str]:
    """Return the name in a result of a number of `compare_scores`, such as "rank-1 d1"; None if it is not reported."""
    rank = re.fullmatch(r"rank-(\d+)(?: (.+))?", name)
    known = numbers_of(result)
    if rank and rank[2]:
        return f"rank{rank[1]}@{rank[2]}"
    if rank:
        nested = f"identification@rank@{rank[1]}"
        return nested if nested in known else f"rank{rank[1]}"
    return next((number for number in (name, f"verification@{name}") if number in known), None)
