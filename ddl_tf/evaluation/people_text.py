"""What a model does on a set of people, as tables and plain sentences."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional

from ddl_tf.common.markdown import DASH
from ddl_tf.common.text import visible
from ddl_tf.metrics.error_rates import rule_of_thirty, rule_of_three


def rate_text(value: Optional[float], interval: Optional[Sequence[float]] = None) -> str:
    """Write a rate 0..1 in percent, with three digits and its interval: "3.21% [2.1, 4.5]"; a dash for None."""
    if value is None:
        return DASH
    ends = f" [{100 * interval[0]:.3g}, {100 * interval[1]:.3g}]" if interval else ""
    return f"{100 * value:.3g}%{ends}"


def rules_text(rate: float, trials: int) -> str:
    """Say what `trials` comparisons can tell of a rate that is not measured: the rules of 3 and of 30."""
    return (
        f"Rule of 3: {trials:,} without any error leave up to {100 * rule_of_three(trials):.2g}% open. Rule of 30: to "
        f"measure {100 * rate:.2g}% within 30% takes {rule_of_thirty(rate):,}."
    )


def _rate_at(result: Mapping[str, Any], *path: str) -> str:
    """The rate at a path of a result, with its interval."""
    value: Any = result
    for name in path:
        value = value[name]
    return rate_text(value, result.get("intervals", {}).get("@".join(path)))


def _one_in(rate: float) -> str:
    return f"one in {round(1 / rate):,}"


def sentences(result: Mapping[str, Any]) -> list[str]:
    """Say what the measured thresholds do, in the words of somebody who has to choose one."""
    verification, search = result["verification"], result["open_set"]
    lines = [
        f"At a threshold of {value:.3f}, {_one_in(float(name))} comparisons of strangers passes, and "
        f"{_rate_at(result, 'verification', 'fnmr', name)} of the comparisons of one person fail."
        for name, value in verification["threshold"].items()
        if value is not None
    ]
    lines += [
        f"With {result['identification']['gallery']:,} people enrolled, at a threshold of {value:.3f}, "
        f"{_one_in(float(name))} searches with a stranger's image finds somebody, and "
        f"{_rate_at(result, 'open_set', 'fnir', name)} of those with an enrolled person's image fail."
        for name, value in (search["threshold"].items() if search else ())
        if value is not None
    ]
    return lines


def acquisition_text(result: Mapping[str, Any]) -> str:
    """Say how many images and people failed, and what the error rates are with them."""
    known = result["acquisition"]
    line = (
        f"without a usable face: {known['failed']:,} of {known['attempts']:,} images (FTA {rate_text(known['fta'])}), "
        f"all images of {known['not_enrolled']:,} of {known['people']:,} people (FTE "
        f"{_rate_at(result, 'acquisition', 'fte')})"
    )
    if not known["failed"] + known["not_enrolled"]:
        return line
    rates = [
        f"at FMR {name} GFRR {rate_text(gfrr)}, GFAR {rate_text(known['gfar'][name])}"
        for name, gfrr in known["gfrr"].items()
        if gfrr is not None
    ]
    return "; ".join([line, *(["with these failures " + ", ".join(rates)] if rates else [])])


def table_lines(header: Sequence[str], rows: Sequence[Sequence[str]], indent: str = "") -> Iterator[str]:
    """Lay out a table for a terminal, a line each for the header and the rows; the first column is of names."""
    widths = [max(map(len, column)) for column in zip(header, *rows)]
    for row in (header, *rows):
        cells = [row[0].ljust(widths[0]), *(cell.rjust(width) for cell, width in zip(row[1:], widths[1:]))]
        yield f"{indent}{'  '.join(cells)}".rstrip()


def _threshold_lines(result: Mapping[str, Any], part: str, asked: str, missed: str) -> Iterator[str]:
    """A row for each rate that was asked for: its threshold, and both rates there."""
    rows = [
        [
            name,
            DASH if value is None else f"{value:.3f}",
            *(_rate_at(result, part, kind, name) for kind in (missed, asked)),
        ]
        for name, value in result[part]["threshold"].items()
    ]
    yield from table_lines(
        [asked.upper(), "threshold", f"{missed.upper()} there", f"{asked.upper()} there"], rows, "  "
    )


def people_text(result: Mapping[str, Any]) -> str:
    """Lay out the result of `evaluate_people` for a terminal: tables, what was not measured, and the sentences."""
    verification, search, identification = (result[name] for name in ("verification", "open_set", "identification"))
    different = verification["pairs"] - verification["same"]
    left_out = ", ".join(f"{count:,} {kind}" for kind, count in result["left_out"].items())
    lines = [
        f"{result['set']}: {result['people']:,} people, {result['images']:,} images"
        + (f"; left out when they were stored: {left_out}" if left_out else ""),
        f"1:1, {verification['same']:,} pairs of one person, {different:,} of two: "
        f"AUC {_rate_at(result, 'verification', 'auc')}, EER {_rate_at(result, 'verification', 'eer')}",
        *_threshold_lines(result, "verification", "fmr", "fnmr"),
        acquisition_text(result),
    ]
    if search:
        enrolled = identification["enrolled"]
        lines += [
            f"1:N, {identification['gallery']:,} people enrolled with {enrolled} image{'s' * (enrolled > 1)} each, "
            f"{search['strangers']:,} strangers, drawn {search['splits']} times: "
            f"rank-1 {_rate_at(result, 'identification', 'rank', '1')}",
            *_threshold_lines(result, "open_set", "fpir", "fnir"),
        ]
    return "\n".join([*lines, *group_lines(result), *result["notes"], *sentences(result)])


# The measures of differences between groups, as tables name them.
MEASURE_TITLES = {
    "fmr_ratio": "FMR, worst / geometric mean",
    "fnmr_ratio": "FNMR, worst / geometric mean",
    "fmr_gini": "FMR, Gini coefficient",
    "fnmr_gini": "FNMR, Gini coefficient",
    "garbe": "GARBE",
    "inequity_rate": "inequity rate",
    "fairness_discrepancy": "fairness discrepancy rate",
}


def measure_text(value: Optional[float], interval: Optional[Sequence[float]] = None) -> str:
    """Write a measure with three digits and its interval: "3.21 [2.1, 4.5]"; a dash for None."""
    if value is None:
        return DASH
    return f"{value:.3g}" + (f" [{interval[0]:.3g}, {interval[1]:.3g}]" if interval else "")


def group_lines(result: Mapping[str, Any]) -> Iterator[str]:
    """Lay out what a result says of groups for a terminal: the rates at each threshold, and how different they are."""
    for column, known in result.get("differences", {}).items():
        yield from _rate_lines(result, column, known["threshold"])
        rows = [
            [
                title,
                *(
                    measure_text(value, result.get("intervals", {}).get(f"differences@{column}@{name}@{target}"))
                    for target, value in known[name].items()
                ),
            ]
            for name, title in MEASURE_TITLES.items()
        ]
        if known["threshold"]:
            yield f"differences by {visible(column)}, at FMR:"
            yield from table_lines(["measure", *known["threshold"]], rows, "  ")


def _rate_lines(result: Mapping[str, Any], column: str, thresholds: Mapping[str, float]) -> Iterator[str]:
    """A table of the groups for each threshold."""
    groups = result["groups"][column]
    for target, threshold in thresholds.items():
        yield f"by {visible(column)}, at the threshold {threshold:.3f} of FMR {target}:"
        rows = [
            [
                visible(name),
                *(f"{group[count]:,}" for count in ("people", "same", "different")),
                *(_rate_at(result, "groups", column, name, kind, target) for kind in ("fnmr", "fmr")),
            ]
            for name, group in groups.items()
        ]
        yield from table_lines(["group", "people", "same pairs", "different", "FNMR", "FMR"], rows, "  ")
    alone = [visible(name) for name, group in groups.items() if group["people"] == 1]
    if alone:
        yield f"  {', '.join(alone)}: one person, who says nothing of a group"
