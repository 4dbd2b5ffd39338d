"""Rates by condition: pairs in bins of a column such as the yaw, ranks by camera, accuracy by race."""

import textwrap
from collections.abc import Mapping, Sequence
from typing import Any, Optional

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import figure_text
from ddl_tf.metrics.bootstrap import bootstrap_rates, rate_interval
from ddl_tf.metrics.ranks import cmc_curve
from ddl_tf.metrics.roc import roc_curve
from ddl_tf.reporting.evaluations import EvaluatedModel
from ddl_tf.reporting.numbers import interval_of
from ddl_tf.reporting.palette import Style

# Words of columns of which more is harder, either sign alike; of all others, such as a resolution, less is harder.
MORE_IS_HARDER = (
    "yaw",
    "pitch",
    "roll",
    "angle",
    "blur",
    "noise",
    "occlusion",
    "distance",
    "age",
    "compression",
    "misfit",
)
BINS = 5
BIN_FAR = 1e-2
RACE_SETS = ("rfw_african", "rfw_asian", "rfw_caucasian", "rfw_indian")
_LARGEST_RANK = 50


def more_is_harder(column: str) -> bool:
    """Return True if the larger absolute value of a column makes an image harder, False if the smaller value does."""
    words = column.lower().split("_")
    # The distance of the eyes in pixels is a size of the face, not how far away it is.
    return any(word in words for word in MORE_IS_HARDER) and "eye" not in words


def columns_of(images: pd.DataFrame, wanted: Sequence[str]) -> list[str]:
    """Choose the numeric columns of a set's images to bin pairs by: those wanted, or all, with at least two values."""
    numeric = [str(name) for name in images.select_dtypes("number") if name not in ("key", "person")]
    chosen = [name for name in wanted if name in numeric] if wanted else numeric
    return [name for name in chosen if images[name].nunique() > 1]


def pair_values(values: np.ndarray, first: np.ndarray, second: np.ndarray, column: str) -> np.ndarray:
    """From the values `[images]` that of the worse of each pair's images, `[pairs]`; NaN where an image has none."""
    values = np.where(np.isfinite(values), values, np.nan).astype(np.float64)
    if more_is_harder(column):
        return np.maximum(np.abs(values[first]), np.abs(values[second]))
    return np.minimum(values[first], values[second])


def bin_edges(values: np.ndarray, bins: int = BINS) -> np.ndarray:
    """Give the rising edges `[<= bins + 1]` of bins of about equal counts; equal values stay together."""
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


def bin_table(
    similarity: np.ndarray, same: np.ndarray, values: np.ndarray, threshold: float, edges: np.ndarray
) -> pd.DataFrame:
    """Count, bin by bin, how a model does at thresholds that were chosen on all pairs.

    Above `threshold` a pair is accepted for the accuracy; the TAR is at FAR 1e-2. `similarity`, `same` and `values` are
    `[pairs]`. Rates have Wilson's 95% intervals, and are NaN where there is no pair for them.
    """
    at_far = similarity >= threshold_at_far(similarity, same)
    correct = (similarity > threshold) == same
    # As np.histogram: the last bin holds its upper edge too.
    place = np.clip(np.searchsorted(edges, values, side="right") - 1, 0, len(edges) - 2)
    rows = []
    for number, (low, high) in enumerate(zip(edges, edges[1:])):
        inside = (place == number) & np.isfinite(values)
        row: dict[str, Any] = {"low": low, "high": high, "pairs": inside.sum(), "same": (inside & same).sum()}
        for name, hits, among in (("accuracy", correct, inside), ("tar", at_far, inside & same)):
            count, total = int((hits & among).sum()), int(among.sum())
            row[name] = count / total if total else np.nan
            row[f"{name}_low"], row[f"{name}_high"] = rate_interval(count, total) if total else (np.nan, np.nan)
        rows.append(row)
    return pd.DataFrame(rows)


def draw_shares(
    axes: Axes, rates: Mapping[str, np.ndarray], labels: list[str], ylabel: str, styles: Mapping[str, Style]
) -> None:
    """Draw rates (model -> `[conditions, 3]` rate, low, high), a point with its interval for each condition."""
    look: dict[str, Any] = {"linestyle": "none", "capsize": 3, "markersize": 5}
    for position, (model, (rate, low, high)) in enumerate((model, values.T) for model, values in rates.items()):
        places = np.arange(len(labels)) + (position - (len(rates) - 1) / 2) * 0.6 / len(rates)
        error = np.abs([rate - low, high - rate])
        axes.errorbar(places, rate, error, label=figure_text(model), **look, **styles[model].points)
    axes.set_xticks(range(len(labels)), labels, fontsize=8)
    axes.set(ylabel=ylabel, xlim=(-0.6, len(labels) - 0.4))
    axes.grid(alpha=0.3)


def bin_labels(table: pd.DataFrame) -> list[str]:
    """Name the bins of `bin_table`, with their counts."""

    def number(value: float) -> str:
        return f"{value:,.0f}" if abs(value) >= 100 or float(value).is_integer() else f"{value:.2g}"

    columns = (table[name] for name in ("low", "high", "pairs", "same"))
    labels = [
        f"[{number(low)}, {number(high)})\n{pairs:,} pairs\n{same:,} same" for low, high, pairs, same in zip(*columns)
    ]
    return [*labels[:-1], labels[-1].replace(")", "]")]


def bins_figure(column: str, tables: Mapping[str, pd.DataFrame], title: str, styles: Mapping[str, Style]) -> Figure:
    """Draw accuracy and TAR by bins of a column; `tables` are of `bin_table`, for each model, over the same edges."""
    first = next(iter(tables.values()))
    if not len(first):
        raise InputError(f"column {column}: no pair has a value; choose others with --columns")
    figure = Figure(figsize=(11, 3.9), layout="constrained")
    shown = figure_text(column)
    rule = f"larger |{shown}| of the two" if more_is_harder(column) else f"smaller {shown} of the two"
    panels = figure.subplots(1, 2)
    texts = {"accuracy": "accuracy at the best threshold", "tar": f"TAR at FAR {BIN_FAR:g}"}
    for axes, (name, text) in zip(panels, texts.items()):
        rates = {model: table[[name, f"{name}_low", f"{name}_high"]].to_numpy() for model, table in tables.items()}
        draw_shares(axes, rates, bin_labels(first), text, styles)
        axes.set_title(figure_text(title), fontsize=10)
        axes.set_xlabel(rule)
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure


def rank1_table(
    rank: np.ndarray, condition: np.ndarray, person: Optional[np.ndarray] = None, replicates: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """Compute the rank-1 rate of each condition, 0..1, with its 95% interval, in rows sorted by condition.

    All arrays are `[probes]`. The interval is by the bootstrap over people where they are known, else Wilson's.
    """
    rows = []
    for name in np.unique(condition):
        inside = condition == name
        recognised, people = rank[inside] == 1, None if person is None else person[inside]
        hits, probes = int(recognised.sum()), len(recognised)
        ends = rate_interval(hits, probes) if people is None else bootstrap_rates(recognised, replicates, seed, people)
        rows.append([str(name), probes, hits / probes, *ends])
    return pd.DataFrame(rows, columns=["condition", "probes", "rank1", "low", "high"])


def identification_figure(
    name: str, ranks: Mapping[str, np.ndarray], tables: Mapping[str, pd.DataFrame], styles: Mapping[str, Style]
) -> Figure:
    """Draw the CMC of ranks (see `rank1_table`), and the rank-1 rate of each condition where there are several."""
    first = next(iter(tables.values()))
    several = len(first) > 1
    figure = Figure(figsize=(11, 4) if several else (6.5, 4), layout="constrained")
    panels = figure.subplots(1, 1 + several, squeeze=False)[0]
    # Beyond the last mate that any model finds, nothing happens.
    largest = int(np.clip(max(rank.max() for rank in ranks.values()), 5, _LARGEST_RANK))
    for model, rank in ranks.items():
        curve = cmc_curve(rank, largest)
        panels[0].step(range(1, largest + 1), curve, where="post", label=figure_text(model), **styles[model].line)
    panels[0].set(xlabel="rank", ylabel="share of probes found", title=f"{figure_text(name)}: CMC", xlim=(1, largest))
    panels[0].set_xticks([tick for tick in (1, 5, *range(10, _LARGEST_RANK + 1, 10)) if tick <= largest])
    panels[0].grid(alpha=0.3)
    panels[0].legend(fontsize=8, loc="lower right")
    if several:
        conditions = [textwrap.fill(figure_text(name).replace("_", " "), 14) for name in first["condition"]]
        labels = [f"{name}\n{count:,} probes" for name, count in zip(conditions, first["probes"])]
        rates = {model: table[["rank1", "low", "high"]].to_numpy() for model, table in tables.items()}
        draw_shares(panels[1], rates, labels, "rank-1 rate", styles)
        panels[1].set_title(f"{figure_text(name)}: rank-1 by condition")
    return figure


def race_figure(models: Sequence[EvaluatedModel], styles: Mapping[str, Style]) -> Figure:
    """Draw the accuracy on the four sets of RFW, a point for each model."""
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    axes = figure.subplots()
    rates = {}
    for model in models:
        results = [model.sets[name].result for name in RACE_SETS]
        accuracies = [result["accuracy"] for result in results]
        # A number without an interval has a bar of no length.
        ends = [interval_of(result, "accuracy") or (value, value) for result, value in zip(results, accuracies)]
        rates[model.name] = np.column_stack([accuracies, ends])
    labels = [
        f"{name.removeprefix('rfw_').capitalize()}\n{models[0].sets[name].result['pairs']:,} pairs"
        for name in RACE_SETS
    ]
    draw_shares(axes, rates, labels, "accuracy", styles)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure
