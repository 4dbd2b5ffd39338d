"""How good a model is for pairs of one kind, such as of a range of yaw: bins of a column of the images."""

from collections.abc import Mapping
from typing import Any, Optional

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import figure_text
from ddl_tf.metrics.bootstrap import rate_interval
from ddl_tf.metrics.roc import roc_curve
from ddl_tf.reporting.palette import Style, styles_of

# Words of columns of which more is harder, either sign alike; of all others, such as a resolution, less is harder.
MORE_IS_HARDER = ("yaw", "pitch", "roll", "angle", "blur", "noise", "occlusion", "distance", "age", "compression")
BINS = 5
BIN_FAR = 1e-2


def more_is_harder(column: str) -> bool:
    """Return True if the larger absolute value of a column makes an image harder, False if the smaller value does.

    Example:
        >>> more_is_harder("measured_yaw"), more_is_harder("measured_resolution_px")
        (True, False)
    """
    return any(word in column.lower().split("_") for word in MORE_IS_HARDER)


def pair_values(values: np.ndarray, first: np.ndarray, second: np.ndarray, column: str) -> np.ndarray:
    """Return the value of the worse of a pair's two images, `[pairs]`; NaN where an image has no value.

    `values` are `[images]`, `first` and `second` `[pairs]` positions of images; `column` says which value is worse.

    Example:
        >>> pair_values(np.array([5.0, -40.0]), np.array([0]), np.array([1]), "yaw")
        array([40.])
    """
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if more_is_harder(column):
        return np.maximum(np.abs(values[first]), np.abs(values[second]))
    return np.minimum(values[first], values[second])


def bin_edges(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Cut values into at most so many bins of about equal counts; equal values stay together.

    Returns:
        `[bins + 1]` rising; a bin holds the values from its lower edge to below its upper one, the last both.
        Empty where no value is finite.
    """
    values = values[np.isfinite(values)]
    if not len(values):
        return np.empty(0)
    edges = np.unique(np.quantile(values, np.linspace(0, 1, bins + 1), method="inverted_cdf"))
    return np.repeat(edges, 2) if len(edges) == 1 else edges


def threshold_at_far(similarity: np.ndarray, same: np.ndarray, far: float = BIN_FAR) -> float:
    """Find the smallest similarity at which not more than `far` of the different pairs are accepted."""
    rates, _ = roc_curve(similarity, same)
    # The thresholds of the ROC: all similarities from the largest on, after one that accepts nothing.
    thresholds = np.append(np.inf, np.unique(similarity)[::-1])
    return float(thresholds[np.searchsorted(rates, far, side="right") - 1])


def _share(hits: np.ndarray, among: np.ndarray) -> tuple[float, float, float]:
    """The rate of hits among some pairs, and Wilson's interval; NaN among none."""
    if not among.any():
        return float("nan"), float("nan"), float("nan")
    count, total = int((hits & among).sum()), int(among.sum())
    low, high = rate_interval(count, total)
    return count / total, low, high


def bin_table(
    similarity: np.ndarray, same: np.ndarray, values: np.ndarray, threshold: float, edges: np.ndarray
) -> pd.DataFrame:
    """Count, bin by bin, how a model does at thresholds that were chosen on all pairs.

    Args:
        similarity: `[pairs]`.
        same: `[pairs]` bool.
        values: `[pairs]` of `pair_values`.
        threshold: a pair is accepted above it for the accuracy; for the TAR at that of FAR 1e-2.
        edges: of `bin_edges`.

    Returns:
        A row for each bin: `low`, `high` (its edges), `pairs`, `same` (counts), `accuracy` and `tar` with
        `accuracy_low`, `accuracy_high`, `tar_low`, `tar_high` (Wilson's 95%), 0..1, NaN where there is no pair for it.
    """
    at_far = similarity >= threshold_at_far(similarity, same)
    correct = (similarity > threshold) == same
    # As np.histogram: the last bin holds its upper edge too.
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for number in range(len(edges) - 1):
        inside = (place == number) & np.isfinite(values)
        row: dict[str, Any] = {"low": edges[number], "high": edges[number + 1]}
        row.update(pairs=int(inside.sum()), same=int((inside & same).sum()))
        for name, hits, among in (("accuracy", correct, inside), ("tar", at_far, inside & same)):
            row[name], row[f"{name}_low"], row[f"{name}_high"] = _share(hits, among)
        rows.append(row)
    return pd.DataFrame(rows)


def _number(value: float) -> str:
    return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.2g}"


def draw_shares(
    axes: Axes,
    rates: Mapping[str, tuple[np.ndarray, np.ndarray, np.ndarray]],
    labels: list[str],
    ylabel: str,
    styles: Optional[Mapping[str, Style]] = None,
) -> None:
    """Draw rates (model -> rate, low, high, each `[conditions]`), a point with its interval for each condition."""
    styles = styles or styles_of(rates)
    width = 0.6 / max(1, len(rates))
    for position, (model, (rate, low, high)) in enumerate(rates.items()):
        places = np.arange(len(labels)) + (position - (len(rates) - 1) / 2) * width
        error = np.abs(np.stack([rate - low, high - rate]))
        axes.errorbar(
            places,
            rate,
            error,
            label=figure_text(model),
            linestyle="none",
            capsize=3,
            markersize=5,
            **styles[model].points,
        )
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set(ylabel=ylabel, xlim=(-0.6, len(labels) - 0.4))
    axes.grid(alpha=0.3)


def bin_labels(table: pd.DataFrame) -> list[str]:
    """Name the bins of `bin_table`, with their counts."""
    ends = [")"] * (len(table) - 1) + ["]"]
    return [
        f"[{_number(low)}, {_number(high)}{end}\n{pairs:,} pairs\n{same:,} same"
        for low, high, pairs, same, end in zip(table["low"], table["high"], table["pairs"], table["same"], ends)
    ]


def bins_figure(
    column: str, tables: Mapping[str, pd.DataFrame], title: str = "", styles: Optional[Mapping[str, Style]] = None
) -> Figure:
    """Draw accuracy and TAR by bins of a column.

    Args:
        column: its name.
        tables: model -> `bin_table` over the same edges.
        title: above both panels.
        styles: name -> how it is drawn; by the order if None.

    Raises:
        InputError: if there is no bin.
    """
    first = next(iter(tables.values()))
    if not len(first):
        raise InputError(f"column {column}: no pair has a value; choose others with --columns")
    names = bin_labels(first)
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    FigureCanvasAgg(figure)
    shown = figure_text(column)
    rule = f"larger |{shown}| of the two" if more_is_harder(column) else f"smaller {shown} of the two"
    panels = figure.subplots(1, 2)
    for axes, name, text in zip(
        panels, ("accuracy", "tar"), ("accuracy at the best threshold", f"TAR at FAR {BIN_FAR:g}")
    ):
        rates = {
            model: (table[name].to_numpy(), table[f"{name}_low"].to_numpy(), table[f"{name}_high"].to_numpy())
            for model, table in tables.items()
        }
        draw_shares(axes, rates, names, text, styles)
        axes.set_title(figure_text(title), fontsize=10)
        axes.set_xlabel(rule)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure
