"""The section of a report on differences between groups: the matrix of their rates, and the measures."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Optional, Union

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure

from ddl_tf.common.text import figure_text, visible
from ddl_tf.evaluation.people_text import MEASURE_TITLES, measure_text, rate_text
from ddl_tf.metrics.people_rates import ACROSS, pair_name
from ddl_tf.reporting.evaluations import EvaluatedModel, set_names
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.page import Picture, Section, anchor

KINDS = {"fmr": "FMR: pairs of two people that pass", "fnmr": "FNMR: pairs of one person that fail"}


def group_names(result: Mapping[str, Any], column: str) -> list[str]:
    """List the groups of a column."""
    return [name for name in result["groups"][column] if name != ACROSS]


def rate_matrix(result: Mapping[str, Any], column: str, kind: str, target: str) -> np.ndarray:
    """Lay the rates of groups and of pairs of groups out: `[groups, groups]`, symmetric, NaN where not measured."""
    names = group_names(result, column)
    matrix = np.full([len(names), len(names)], np.nan)
    for row, one in enumerate(names):
        for place, other in enumerate(names[row:], row):
            pairs = result["differences"][column]["pairs"]
            cell = result["groups"][column][one] if one == other else pairs.get(pair_name(one, other))
            value = cell and cell[kind][target]
            matrix[row, place] = matrix[place, row] = np.nan if value is None else value
    return matrix


def _draw_matrix(axes: Axes, matrix: np.ndarray, names: Sequence[str], limits: tuple[float, float]) -> None:
    axes.imshow(np.clip(matrix, *limits), cmap="viridis_r", norm=LogNorm(*limits), aspect="auto")
    middle = np.sqrt(limits[0] * limits[1])
    for (row, place), value in np.ndenumerate(matrix):
        if np.isfinite(value):
            dark = value > middle
            axes.text(place, row, f"{100 * value:.2g}%", ha="center", va="center", color="white" if dark else "black")
    labels = [figure_text(name) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=30 if len(names) > 4 else 0, fontsize=8)
    axes.set_yticks(range(len(names)), labels, fontsize=8)


def matrix_figure(
    column: str, results: Mapping[str, Mapping[str, Any]], target: str, kinds: Sequence[str] = tuple(KINDS)
) -> Figure:
    """Draw FMR and FNMR of all groups and pairs of groups, a row for each model, all in one scale of colours."""
    names = group_names(next(iter(results.values())), column)
    size = max(3.2, 0.55 * len(names) + 1.2)
    figure = Figure(figsize=(11 if len(kinds) > 1 else 6.5, size * len(results)), layout="constrained")
    grid = figure.subplots(len(results), len(kinds), squeeze=False)
    for place, kind in enumerate(kinds):
        matrices = {model: rate_matrix(result, column, kind, target) for model, result in results.items()}
        known = np.concatenate([matrix[matrix > 0] for matrix in matrices.values()])
        high = known.max(initial=1e-6)
        # Rates that hardly differ should not look as if they did.
        low = min(known.min(initial=high), high / 5)
        for axes, (model, matrix) in zip(grid[:, place], matrices.items()):
            _draw_matrix(axes, matrix, names, (low, high))
            axes.set_title(f"{figure_text(model)}: {KINDS[kind]}", fontsize=9)
            axes.set_xlabel(figure_text(column))
    return figure


def group_differences(models: Sequence[EvaluatedModel]) -> Section:
    """Show how different the rates of groups are, of each set and column that was evaluated by groups."""
    parts: list[Union[Picture, TextTable]] = []
    words: list[str] = []
    for name in set_names(models):
        results = {model.name: model.sets[name].result for model in models if name in model.sets}
        for column in dict.fromkeys(column for result in results.values() for column in result.get("differences", {})):
            known = {
                model: result
                for model, result in results.items()
                if column in result.get("differences", {}) and result["differences"][column]["threshold"]
            }
            parts += _parts_of(name, column, known)
            words += [f"{model} on {name}: {text}" for model, text in _worst(column, known)]
    if parts:
        words.append(
            "A measure of few errors says little: look at its interval, and at the matrix. With few people chance "
            "alone makes one group the worst: the ratios of groups that are alike, and their intervals, are above 1."
        )
    return Section("differences", "Differences between groups", words, parts)


def _worst(column: str, results: Mapping[str, Mapping[str, Any]]) -> Iterator[tuple[str, str]]:
    """Say which group has most false matches, and which most false non-matches, at the first threshold."""
    for model, result in results.items():
        target = next(iter(result["differences"][column]["threshold"]))
        groups = result["groups"][column]
        for kind in KINDS:
            rates = {name: groups[name][kind][target] for name in group_names(result, column)}
            measured = {name: rate for name, rate in rates.items() if rate is not None}
            if len(measured) > 1:
                worst, best = max(measured, key=lambda name: measured[name]), min(measured, key=lambda n: measured[n])
                yield (
                    model,
                    f"at FMR {target} on all pairs, the {kind.upper()} by {visible(column)} goes from "
                    f"{rate_text(measured[best], _ends(result, column, best, kind, target))} ({visible(best)}) to "
                    f"{rate_text(measured[worst], _ends(result, column, worst, kind, target))} ({visible(worst)}).",
                )


def _ends(result: Mapping[str, Any], column: str, name: str, kind: str, target: str) -> Optional[Sequence[float]]:
    """The interval of the rate of a group, or of a pair of groups."""
    part = "groups" if name in result["groups"][column] else "differences"
    path = f"{column}@{name}" if part == "groups" else f"{column}@pairs@{name}"
    return result.get("intervals", {}).get(f"{part}@{path}@{kind}@{target}")


def _parts_of(name: str, column: str, results: Mapping[str, Mapping[str, Any]]) -> Iterator[Union[Picture, TextTable]]:
    if not results:
        return
    thresholds = [result["differences"][column]["threshold"] for result in results.values()]
    shared = [target for target in thresholds[0] if all(target in known for known in thresholds)]
    shown = visible(column)
    for target in shared[:1]:
        caption = (
            f"{name} by {shown}: FMR and FNMR of each group and of each two groups, at each model's one threshold of "
            f"FMR {target} on all pairs. The darker, the more errors. An empty cell was not measured, or has no such "
            "pairs."
        )
        worst = "; ".join(f"{model}: {text}" for model, text in _worst(column, results))
        yield Picture(
            anchor("differences", name, column),
            matrix_figure(column, results, target),
            f"Matrix of the error rates on {name} by {shown}. {worst}",
            caption,
        )
    rows = [
        [
            title,
            f"FMR {target}",
            *(
                measure_text(
                    result["differences"][column][measure].get(target),
                    result.get("intervals", {}).get(f"differences@{column}@{measure}@{target}"),
                )
                for result in results.values()
            ),
        ]
        for target in shared
        for measure, title in MEASURE_TITLES.items()
    ]
    caption = (
        f"{name} by {shown}: how different the rates within the groups are. Worst / geometric mean and inequity rate: "
        "1 is fair, larger is worse; Gini coefficient and GARBE: 0 is fair, 1 the worst; fairness discrepancy rate: 1 "
        "is fair, lower is worse. 95% intervals by resampling people."
    )
    header = ["measure", "threshold of", *results]
    yield TextTable(anchor("differences", name, column, "measures"), caption, header, rows, heads=2)
    yield _cells_table(name, column, results, shared)


def _cells_table(name: str, column: str, results: Mapping[str, Mapping[str, Any]], targets: Sequence[str]) -> TextTable:
    header, rows = [column, "threshold of", "same pairs", "different"], []
    for model in results:
        header += [f"{model}, FMR", f"{model}, FNMR"]
    first = next(iter(results.values()))
    for target in targets:
        for cell, counts in {**first["groups"][column], **first["differences"][column]["pairs"]}.items():
            row = [cell, f"FMR {target}", f"{counts['same']:,}", f"{counts['different']:,}"]
            for result in results.values():
                known = {**result["groups"][column], **result["differences"][column]["pairs"]}[cell]
                row += [rate_text(known[kind][target], _ends(result, column, cell, kind, target)) for kind in KINDS]
            rows.append(row)
    caption = f"{name} by {visible(column)}: the matrix in numbers, with 95% intervals by resampling people"
    return TextTable(anchor("differences", name, column, "table"), caption, header, rows, heads=2, folded=True)
