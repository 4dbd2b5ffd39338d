"""The section of a report on error rates by the names of ISO/IEC 19795-1."""

from collections.abc import Mapping, Sequence
from typing import Any, Optional

from ddl_tf.common.markdown import DASH
from ddl_tf.evaluation.people_text import rate_text, rules_text
from ddl_tf.evaluation.reports import unreliable_numbers
from ddl_tf.metrics.error_rates import ERRORS, error_numbers
from ddl_tf.reporting.evaluations import EvaluatedModel, set_names
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.numbers import interval_of, title_of
from ddl_tf.reporting.page import Section

# Where results have errors at thresholds.
_POINTS = (("error_rates", "fnmr"), ("verification", "fnmr"), ("open_set", "fnir"))
_OVER = {"fnmr": "FMR", "fnir": "FPIR"}
_FAILURES = ("fta", "fte", "gfar", "gfrr")

Rates = dict[str, tuple[Optional[float], Optional[Sequence[float]]]]


def rates_of(result: Mapping[str, Any]) -> Rates:
    """List the error rates of a result by the standard's names, None where not measured, with their intervals.

    They are FNMR and FNIR at the thresholds of an FMR or FPIR, or else 1 - TAR and 1 - TPIR; and the rates of failure.
    """
    rates: Rates = {}
    for part, missed in _POINTS:
        for target, rate in ((result.get(part) or {}).get(missed) or {}).items():
            path = f"{part}@{missed}@{target}"
            rates[path] = rate, interval_of(result, path)
    few = unreliable_numbers(result)
    for path, (rate, interval) in error_numbers(result).items():
        is_few = any(path.replace(error, success) in few for success, error in ERRORS.items())
        rates[path] = (None, None) if is_few else (rate, interval)
    for name in _FAILURES:
        known = result.get("acquisition", {}).get(name)
        by_target = known if isinstance(known, Mapping) else {"": known}
        for target, rate in by_target.items():
            path = f"acquisition@{name}@{target}".rstrip("@")
            if rate is not None:
                rates[path] = rate, interval_of(result, path)
    return rates


def _title(path: str) -> str:
    """Name a rate as the standard does: "verification: FNMR at FMR 1e-3"."""
    *part, name, target = ["", *path.split("@")]
    if name not in _OVER:
        return title_of(path)
    first = part[-1] if part[-1] != "error_rates" else ""
    return f"{first.replace('_', ' ')}{': ' if first else ''}{name.upper()} at {_OVER[name]} {target}"


def _trials(result: Mapping[str, Any], path: str) -> Optional[int]:
    """How many comparisons of two people an FNMR's FMR rests on, where the result says it."""
    counts = result.get(path.split("@")[0], {})
    counts = counts if isinstance(counts, Mapping) and "pairs" in counts else result
    if "fnmr" not in path.split("@") or not {"pairs", "same"} <= counts.keys():
        return None
    return int(counts.get("impostor_pairs", counts["pairs"] - counts["same"]))


def error_rates(models: Sequence[EvaluatedModel]) -> Section:
    """Lay the error rates of all models on all sets side by side, and say what could not be measured."""
    rows, words = [], dict[str, None]()
    for name in set_names(models):
        rates = {model.name: rates_of(model.sets[name].result) for model in models if name in model.sets}
        for path in dict.fromkeys(path for known in rates.values() for path in known):
            cells = [
                rate_text(*rates[model.name][path]) if path in rates.get(model.name, {}) else DASH for model in models
            ]
            rows.append([name, _title(path), *cells])
        result = next(model.sets[name].result for model in models if name in model.sets)
        few = [path for path, (rate, _) in rates_of(result).items() if rate is None and _trials(result, path)]
        if few:
            trials, target = _trials(result, few[0]) or 0, few[0].split("@")[-1]
            text = f"{name}: FMR {target} is not measured with {trials:,} pairs of two people. "
            words[text + rules_text(float(target), trials)] = None
    if not rows:
        return Section("error-rates", "Error rates by ISO/IEC 19795-1")
    caption = (
        "FNMR at FMR: share of pairs of one person that are rejected at the lowest threshold with that false match "
        "rate; FNIR at FPIR: share of searches of enrolled people that fail at the threshold of that false positive "
        "identification rate (1 - TAR and 1 - TPIR). FTA: share of images without a usable face; FTE: share of people "
        f"without any image that can be enrolled; GFAR, GFRR: false accepts and rejects with these. {DASH}: not "
        "measured. With 95% intervals; those at a threshold take it as it is."
    )
    header = ["set", "rate", *(model.name for model in models)]
    return Section(
        "error-rates",
        "Error rates by ISO/IEC 19795-1",
        list(words),
        [TextTable("error-rates", caption, header, rows, heads=2)],
    )
