"""Error rates by the names of ISO/IEC 19795-1: what they are at a threshold, and what too few trials leave open."""

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple, Optional

import numpy as np

from ddl_tf.metrics import roc
from ddl_tf.metrics.bootstrap import bootstrapped_targets
from ddl_tf.metrics.people_rates import pair_rates

# The rate of errors that the standard names, by the rate of successes that papers on faces give.
ERRORS = {"tar": "fnmr", "tpir": "fnir"}
# Counts of results, of images that a protocol names and nobody has.
_MISSING_IMAGES = ("missing_images", "missing_probes", "missing_gallery", "missing_distractors")


class OperatingPoints(NamedTuple):
    """Rates at thresholds: `threshold`, `fmr` and `fnmr` by target, None if not measured; intervals, "fmr@target"."""

    rates: dict[str, dict[str, Optional[float]]]
    intervals: dict[str, list[float]]


def is_accepted(similarity: np.ndarray, thresholds: Mapping[str, float]) -> np.ndarray:
    """Decide whether each pair reaches each threshold, in float32 as a served model does: `[pairs, thresholds]`."""
    limits = np.array(list(thresholds.values()), np.float32)
    return np.asarray(similarity, np.float32)[:, np.newaxis] >= limits


def operating_points(
    similarity: np.ndarray,
    same: np.ndarray,
    targets: Mapping[str, float],
    replicates: int,
    seed: int,
    first_person: Optional[np.ndarray] = None,
    second_person: Optional[np.ndarray] = None,
) -> OperatingPoints:
    """Compute FNMR and FMR of pairs at the lowest thresholds that keep false match rates.

    Args:
        similarity: `[pairs]`, of which a pair is accepted if it reaches the threshold.
        same: `[pairs]` bool, with both classes.
        targets: name of a false match rate -> the rate, 0..1.
        replicates: of the bootstrap over people, at the thresholds as they are; 0: no intervals.
        seed: of the bootstrap.
        first_person: `[pairs]`, whom the first image shows; without people pairs are drawn.
        second_person: `[pairs]`, whom the second image shows.

    Returns:
        The rates. Those at targets of fewer than three false matches are None.

    Example:
        >>> similarity, same = np.linspace(1, 0, 100), np.arange(100) < 50
        >>> operating_points(similarity, same, {"1e-1": 0.1}, 0, seed=0).rates["fmr"]
        {'1e-1': 0.1}

    References:
        ISO/IEC 19795-1:2021, Biometric performance testing and reporting, Part 1: Principles and framework
    """
    similarity, same = np.asarray(similarity, np.float32), np.asarray(same, bool)
    measured = bootstrapped_targets(same, targets)
    thresholds = {name: roc.threshold_at_far(similarity, same, rate) for name, rate in measured.items()}
    rates: dict[str, dict[str, Optional[float]]] = {
        "threshold": {name: thresholds.get(name) for name in targets},
        "fmr": dict.fromkeys(targets),
        "fnmr": dict.fromkeys(targets),
    }
    intervals: dict[str, list[float]] = {}
    accepted = is_accepted(similarity, thresholds)
    alone = np.arange(len(same))
    people = [alone if person is None else np.asarray(person) for person in (first_person, second_person)]
    for kind, members, wrong in (("fmr", ~same, accepted), ("fnmr", same, ~accepted)):
        first, second = (person[members] for person in people)
        values = pair_rates(wrong[members], first, second, replicates, seed) if measured else []
        for name, value in zip(measured, values):
            rates[kind][name] = value.value
            if value.interval:
                intervals[f"{kind}@{name}"] = value.interval
    return OperatingPoints(rates, intervals)


def rule_of_three(trials: int) -> float:
    """Bound the error rate, with 95% confidence, where `trials` independent ones had no error: 3 / trials.

    References:
        Jovanovic and Levy, A look at the rule of three. The American Statistician 51, 1997
    """
    return 3 / trials


def rule_of_thirty(rate: float) -> int:
    """Count the independent trials that measure an error rate: those in which 30 errors are expected.

    With 30 errors the true rate is within 30% of the measured one, with 90% confidence.

    References:
        Doddington, Przybocki, Martin and Reynolds, The NIST speaker recognition evaluation. Speech Communication 31,
        2000
    """
    return int(np.ceil(round(30 / rate, 6)))


class GeneralisedRates(NamedTuple):
    """What users meet with: false accepts and false rejects, `gfar` and `gfrr`, 0..1, failures among them."""

    gfar: float
    gfrr: float


def generalised_rates(fmr: float, fnmr: float, fta: float, fte: float) -> GeneralisedRates:
    """Join the rates of comparisons with the rates of failures to acquire an image and to enrol a person, all 0..1.

    Who cannot be enrolled, or acquired, is never accepted, rightly or not: FAR = FMR (1 - FTA), FRR = FTA +
    FNMR (1 - FTA), and then GFAR = FAR (1 - FTE), GFRR = FTE + FRR (1 - FTE).

    Example:
        >>> generalised_rates(fmr=0.01, fnmr=0.02, fta=0.0, fte=0.5)
        GeneralisedRates(gfar=0.005, gfrr=0.51)

    References:
        ISO/IEC 19795-1:2021, false accept, false reject, and their generalised rates
    """
    far, frr = fmr * (1 - fta), fta + fnmr * (1 - fta)
    return GeneralisedRates(far * (1 - fte), fte + frr * (1 - fte))


def error_numbers(result: Mapping[str, Any]) -> dict[str, tuple[float, Optional[list[float]]]]:
    """Name what a result has as TAR and TPIR by the errors of the standard: "verification@fnmr@1e-3" = 1 - TAR.

    Returns:
        The path to each number -> its value, and its interval if the result has one. What has its own FNMR or FNIR
        beside it is left out.
    """
    known = result.get("intervals", {})

    def errors(rates: Mapping[str, Any], success: str, error: str) -> Iterator[tuple[str, tuple[float, Any]]]:
        for target, rate in rates.items():
            # Some results have a rate at each target for each protocol.
            if isinstance(rate, Mapping):
                yield from errors(rate, f"{success}@{target}", f"{error}@{target}")
            elif rate is not None:
                ends = known.get(f"{success}@{target}")
                yield f"{error}@{target}", (1 - rate, [1 - ends[1], 1 - ends[0]] if ends else None)

    def walk(part: Mapping[str, Any], path: str) -> dict[str, tuple[float, Optional[list[float]]]]:
        found: dict[str, tuple[float, Optional[list[float]]]] = {}
        for key, value in part.items():
            error = ERRORS.get(key)
            if error and isinstance(value, Mapping) and error not in part and "error_rates" not in part:
                found.update(errors(value, f"{path}{key}", f"{path}{error}"))
            elif isinstance(value, Mapping) and key != "intervals":
                found.update(walk(value, f"{path}{key}@"))
        return found

    return walk(result, "")


def with_failures(result: dict[str, Any], embedded: int, failed: int) -> dict[str, Any]:
    """Add the rates of failure to a result that has none: `acquisition` of images, and of a gallery.

    Images fail if they are missing or if their embedding is of zeros (`failed` of `embedded`); entries of a gallery if
    they have no image. All of them count in the rates of a result as never found. Without a failure nothing is added.
    """
    search = result.get("identification") or result
    missing = sum(count for name, count in result.items() if name in _MISSING_IMAGES)
    if "acquisition" in result or not failed + missing + search.get("missing_gallery", 0):
        return result
    rates = {"attempts": embedded + missing, "failed": failed + missing}
    rates["fta"] = rates["failed"] / max(1, rates["attempts"])
    if search.get("gallery"):
        rates["fte"] = search.get("missing_gallery", 0) / search["gallery"]
    return {**result, "acquisition": rates}
