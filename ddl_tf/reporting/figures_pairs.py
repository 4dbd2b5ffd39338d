"""Figures of pairs: the distributions of a set's similarities, and ROC and DET with what chance may do to them."""

import dataclasses
from collections.abc import Mapping
from typing import Literal, Optional

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from scipy.special import ndtr, ndtri

from ddl_tf.common.progress import Progress
from ddl_tf.common.text import figure_text
from ddl_tf.evaluation.plots import Similarities, draw_distributions
from ddl_tf.metrics.bootstrap import CONFIDENCE, MIN_FALSE_ACCEPTS, check_replicates, pair_weights
from ddl_tf.metrics.weighted import WeightedPairs
from ddl_tf.reporting.palette import Style

_POINTS = 120
_ACROSS = 3
# Rates that are worth a line on an axis of probits.
_RATES = (1e-6, 1e-5, 1e-4, 1e-3, 0.003, 0.01, 0.03, 0.1, 0.2, 0.4, 0.6, 0.8, 0.95)


def distributions_figure(models: Mapping[str, Similarities]) -> Figure:
    """Draw the similarities of a set's same and different pairs, with their expectations, a panel for each model."""
    across = min(_ACROSS, len(models))
    down = -(-len(models) // across)
    figure = Figure(figsize=(max(5.5, 4.2 * across), 3.3 * down), layout="constrained")
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(models) :]:
        axes.set_visible(False)
    for axes, (model, pairs) in zip(panels, models.items()):
        draw_distributions(axes, pairs)
        axes.set_title(f"{figure_text(model)}: margin {pairs.margin:.2f}")
        # Wider than the panel it would squeeze all of them.
        axes.legend(loc="upper left", ncols=2, fontsize=7, columnspacing=1, handlelength=1.5).set_in_layout(False)
        axes.grid(alpha=0.3)
    return figure


@dataclasses.dataclass(frozen=True)
class RocBand:
    """The ROC of a model, `[points]` each: `far` rises from the smallest that the set can tell from none, to 1.

    `tar` is at the largest FAR that is not above it; its 95% interval is NaN at fewer than three false accepts.
    """

    far: np.ndarray
    tar: np.ndarray
    low: np.ndarray
    high: np.ndarray


def roc_band(
    similarity: np.ndarray,
    same: np.ndarray,
    replicates: int,
    seed: int,
    first_person: Optional[np.ndarray] = None,
    second_person: Optional[np.ndarray] = None,
) -> RocBand:
    """Compute a ROC of `[pairs]` with a pointwise interval of 95% by the bootstrap: of people, where they are known."""
    check_replicates(replicates)
    pairs = WeightedPairs(similarity, same)
    # From one pair of all on.
    grid = np.geomspace(1 / np.sum(~pairs.same), 1, _POINTS)

    def tar(weights: np.ndarray) -> np.ndarray:
        far, rates = pairs.roc_curve(weights)
        # In units of pairs rates come out as they should, up to rounding.
        return rates[np.searchsorted(far, grid * (1 + 1e-12), side="right") - 1]

    values = np.empty([replicates, len(grid)])
    with Progress("bootstrap of a ROC", replicates, unit="replicate") as progress:
        for row, weights in zip(values, pair_weights(pairs.same, replicates, seed, first_person, second_person)):
            row[:] = tar(weights)
            progress.advance()
    low, high = np.quantile(values, [(1 - CONFIDENCE) / 2, (1 + CONFIDENCE) / 2], axis=0)
    few = grid * np.sum(~pairs.same) < MIN_FALSE_ACCEPTS - 1e-6
    low[few] = high[few] = np.nan
    return RocBand(grid, tar(np.ones(len(pairs.same))), low, high)


def _probit_axis(axes: Axes, which: Literal["x", "y"], low: float, high: float) -> None:
    """Scale an axis so that normal distributions have straight DET curves."""
    getattr(axes, f"set_{which}scale")("function", functions=(ndtri, ndtr))
    getattr(axes, f"set_{which}lim")(low, high)
    # On a long axis 0.001 and 0.003 would run into each other.
    ticks = [rate for rate in _RATES if low <= rate <= high and not (rate == 0.003 and low < 1e-4)]
    getattr(axes, f"set_{which}ticks")(ticks, [f"{rate:g}" for rate in ticks])
    getattr(axes, f"set_{which}ticks")([], minor=True)


def roc_det_figure(name: str, bands: Mapping[str, RocBand], num_same: int, styles: Mapping[str, Style]) -> Figure:
    """Draw ROC (left) and DET (right; Martin et al. 1997) of one set, a curve with its `roc_band` for each model.

    Of `num_same` same pairs, an FNMR of 0 is drawn as half of one pair.
    """
    figure = Figure(figsize=(11, 4.4), layout="constrained")
    roc, det = figure.subplots(1, 2)
    lowest = min(float(band.far[0]) for band in bands.values())
    for model, band in bands.items():
        roc.step(band.far, band.tar, where="post", label=figure_text(model), **styles[model].line)
        colour = styles[model].colour
        roc.fill_between(band.far, band.low, band.high, step="post", color=colour, alpha=0.15, linewidth=0)
    roc.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.02))
    roc.set(xlabel="false accept rate", ylabel="true accept rate", title=f"{figure_text(name)}: ROC")
    draw_det(det, bands, num_same, styles)
    det.set(xlabel="false match rate (FMR)", ylabel="false non-match rate (FNMR)", title=f"{figure_text(name)}: DET")
    roc.grid(alpha=0.3)
    roc.legend(loc="lower right", fontsize=8)
    return figure


def draw_det(axes: Axes, bands: Mapping[str, RocBand], trials: int, styles: Mapping[str, Style]) -> None:
    """Draw the share that is missed over the rate of false alarms, both in probits, a curve with its band for each.

    None missed of `trials` is drawn as half of one.
    """
    least, lowest = 0.5 / trials, min(float(band.far[0]) for band in bands.values())
    for model, band in bands.items():
        # An axis of probits has no place for 0 and 1.
        shown = band.far < 0.999
        missed, most, fewest = (np.clip(1 - rate[shown], least, 1 - least) for rate in (band.tar, band.low, band.high))
        axes.plot(band.far[shown], missed, label=figure_text(model), **styles[model].line)
        colour = styles[model].colour
        axes.fill_between(band.far[shown], fewest, most, color=colour, alpha=0.15, linewidth=0)
    _probit_axis(axes, "x", lowest, 0.95)
    worst = max(float(1 - np.nanmin([*band.tar, *band.low])) for band in bands.values())
    best = min(float(1 - np.nanmax([*band.tar, *band.high])) for band in bands.values())
    _probit_axis(axes, "y", max(least, 0.7 * best), min(0.99, max(0.1, 1.2 * worst)))
    axes.tick_params(labelsize=8)
    axes.grid(alpha=0.3)
