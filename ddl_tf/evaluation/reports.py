"""Results as text."""

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ddl_tf.common.markdown import DASH
from ddl_tf.evaluation.people_text import group_lines, people_text, rate_text, rules_text, table_lines
from ddl_tf.metrics.bootstrap import MIN_FALSE_ACCEPTS
from ddl_tf.metrics.error_rates import ERRORS, error_numbers


def json_line(result: dict[str, Any]) -> str:
    """Encode a result as one line of JSON, without its end; ValueError if a number is not finite."""
    return json.dumps(result, allow_nan=False)


def pairs_table(results: Sequence[dict[str, Any]]) -> str:
    """Lay out results of `evaluate_pairs`, all at the same rates, for a terminal, in percent; the margin as it is."""
    targets = [f"TAR@{name}" for name in results[0]["tar"]]
    header = ["set", "pairs", "accuracy", "best", "AUC", "EER", *targets, "margin"]
    rows = []
    for result in results:
        accuracy = f"{100 * result['accuracy']:.2f} +- {100 * result['accuracy_std']:.2f}"
        rates = (result["threshold_accuracy"], result["auc"], result["eer"], *result["tar"].values())
        cells = [DASH if rate is None else f"{100 * rate:.2f}" for rate in rates]
        rows.append([result["set"], str(result["pairs"]), accuracy, *cells, f"{result['expectation_margin']:.3f}"])
    lines = [*table_lines(header, rows)]
    if any(rate is None for result in results for rate in result["tar"].values()):
        lines.append(f"{DASH}: not measurable, FAR x different pairs is less than {MIN_FALSE_ACCEPTS}")
    return "\n".join(lines)


def error_rates_table(results: Sequence[dict[str, Any]]) -> str:
    """Lay out error rates of `evaluate_pairs`, of equal targets, by the names of ISO/IEC 19795-1, and what is open."""
    lines, known = [], dict[int, str]()
    rows = [[result["set"], *_rates_with_intervals(result)] for result in results]
    if any(cell != DASH for row in rows for cell in row[1:]):
        lines += ["ISO/IEC 19795-1, FNMR at FMR:", *table_lines(["set", *results[0]["error_rates"]["fnmr"]], rows)]
    for result in results:
        few = [name for name, rate in result["error_rates"]["fnmr"].items() if rate is None]
        if few:
            different = result["pairs"] - result["same"]
            # Once for sets of equally many pairs.
            known[different] = f"FMR {few[0]} of {different:,} pairs: {rules_text(float(few[0]), different)}"
    return "\n".join([*lines, *known.values()])


def _rates_with_intervals(result: Mapping[str, Any]) -> Iterator[str]:
    for name, rate in result["error_rates"]["fnmr"].items():
        yield rate_text(rate, result.get("intervals", {}).get(f"error_rates@fnmr@{name}"))


def flat_numbers(result: dict[str, Any]) -> dict[str, Any]:
    """Name every number of a result, nested ones by the path to them, as `rank1@d1`; without intervals."""
    numbers: dict[str, Any] = {}
    for name, value in result.items():
        if isinstance(value, dict) and name != "intervals":
            numbers.update({f"{name}@{inner}": number for inner, number in flat_numbers(value).items()})
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            numbers[name] = value
    return numbers


def unreliable_numbers(result: Mapping[str, Any]) -> list[str]:
    """Name the rates of a result that fewer than three false accepts decide, as `flat_numbers` names them."""
    parts = [(part, content) for part, content in result.items() if isinstance(content, Mapping)]
    inner = [f"{part}@{name}" for part, content in parts for name in unreliable_numbers(content)]
    return [*result.get("few_false_accepts", []), *inner]


def _numbers_text(result: dict[str, Any]) -> str:
    """A line for each number of a result, with its interval."""
    intervals, unreliable = result.get("intervals", {}), unreliable_numbers(result)
    lines = []
    # Groups have tables of their own.
    alone = {name: part for name, part in result.items() if name not in ("groups", "differences")}
    for name, value in flat_numbers(alone).items():
        text = f"{value:,}" if isinstance(value, int) else f"{value:.4f}"
        if name in unreliable:
            text += "*"
        if name in intervals:
            text += " [{:.4f}, {:.4f}]".format(*intervals[name])
        lines.append((name, text))
    for name, (value, interval) in error_numbers(result).items():
        star = "*" if any(name.replace(error, rate) in unreliable for rate, error in ERRORS.items()) else ""
        lines.append((name, f"{value:.4f}{star}" + (" [{:.4f}, {:.4f}]".format(*interval) if interval else "")))
    width = max((len(name) for name, _ in lines), default=0)
    note = [f"*: fewer than {MIN_FALSE_ACCEPTS} false accepts, not measured reliably"] if unreliable else []
    title = f"{result['set']}, pooling: {result['pooling']}:" if "pooling" in result else f"{result['set']}:"
    return "\n".join([title, *(f"  {name:<{width}}  {text}" for name, text in lines), *note])


def results_text(results: Sequence[dict[str, Any]]) -> str:
    """Lay out results of any protocols for a terminal: a table of the pairs, a list of numbers for each other set."""
    pairs = [result for result in results if result.get("protocol", "pairs") == "pairs"]
    others = [result for result in results if result.get("protocol", "pairs") != "pairs"]
    texts = [people_text(result) if result["protocol"] == "people" else _numbers_text(result) for result in others]
    tables: dict[tuple[str, ...], list[dict[str, Any]]] = {}
    for result in pairs:
        tables.setdefault(tuple(result["tar"]), []).append(result)
    of_pairs = [table(alike) for alike in tables.values() for table in (pairs_table, error_rates_table)]
    for result in results:
        if result.get("protocol") != "people" and result.get("differences"):
            texts += [f"{result['set']}, by groups:", *group_lines(result), *result.get("notes", [])]
    return "\n".join(filter(None, of_pairs + texts))
