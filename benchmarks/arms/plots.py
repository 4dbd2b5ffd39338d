"""The plot of an experiment: no faces, only numbers."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from arms.analysis import TAR, mean_of
from arms.catalogue import ALL
from ddl_tf.common.files import write_aside
from ddl_tf.common.text import figure_text
from ddl_tf.reporting.palette import GREY, Style, style


def _present(by_run: pd.DataFrame) -> list[str]:
    return list(dict.fromkeys(by_run.index.get_level_values("arm")))


def _look(arm: str) -> Style:
    """Grey for what is not trained, so that the palette suffices for the others."""
    numbered = [name for name in ALL if ALL[name].trained]
    return style(numbered.index(arm)) if ALL[arm].trained else dataclasses.replace(style(0), colour=GREY)


def draw_by_arm(axes: Axes, by_run: pd.DataFrame, number: str, title: str) -> None:
    """Draw a number of every arm: a dot a seed, the mean and its interval.

    Args:
        axes: where.
        by_run: of `analysis.numbers`.
        number: its column.
        title: of the panel.
    """
    arms = _present(by_run)
    for place, arm in enumerate(arms):
        values = by_run.loc[arm, number].to_numpy(float)
        look, summary = _look(arm), mean_of(values)
        axes.scatter(values, place + np.linspace(-0.18, 0.18, len(values)), s=14, color=look.colour, alpha=0.5)
        error = None if np.isnan(summary.half) else summary.half
        axes.errorbar(summary.mean, place, xerr=error, fmt=look.marker, color=look.colour, capsize=3, markersize=6)
    axes.set_yticks(range(len(arms)), [ALL[arm].title for arm in arms])
    axes.invert_yaxis()
    axes.set_title(title, fontsize=10)
    axes.grid(alpha=0.3, axis="x")


def draw_trade_off(axes: Axes, by_run: pd.DataFrame) -> None:
    """Draw hard against easy: up is better on hard faces, right on easy ones.

    Args:
        axes: where.
        by_run: of `analysis.numbers`.
    """
    for arm in _present(by_run):
        look = _look(arm)
        easy, hard = (by_run.loc[arm, f"{kind} auc"].to_numpy(float) for kind in ("easy", "hard"))
        axes.scatter(easy, hard, s=14, color=look.colour, marker=look.marker, alpha=0.35)
        axes.scatter(easy.mean(), hard.mean(), s=70, color=look.colour, marker=look.marker, label=ALL[arm].title)
    axes.set_xlabel("AUC, easy")
    axes.set_ylabel("AUC, hard")
    axes.set_title("hard against easy", fontsize=10)
    axes.grid(alpha=0.3)
    axes.legend(fontsize=7, frameon=False)


def results_figure(by_run: pd.DataFrame, hard: Sequence[str], easy: str) -> Figure:
    """Draw the results of an experiment.

    Args:
        by_run: of `analysis.numbers`.
        hard: the names of the hard sets.
        easy: that of the easy set.

    Returns:
        The figure, with `savefig`.
    """
    figure = Figure(figsize=(12, 8.5), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, 2)
    sets = figure_text(hard[0]) if len(hard) == 1 else f"hard sets (mean of {len(hard)})"
    draw_by_arm(axes[0, 0], by_run, "hard auc", f"AUC on {sets}")
    draw_by_arm(axes[0, 1], by_run, f"hard {TAR}", f"TAR at FAR 1e-2 on {sets}")
    draw_by_arm(axes[1, 0], by_run, "gap", f"gap of expectation margins, {figure_text(easy)} less {sets}")
    axes[1, 0].axvline(0, color=GREY, linewidth=1)
    draw_trade_off(axes[1, 1], by_run)
    for panel in (axes[0, 1],):
        panel.set_yticklabels([])
    figure.supxlabel("dots: seeds; large: mean, with the interval of 95% of the mean", fontsize=9, color=GREY)
    return figure


def save(figure: Figure, path: Path) -> None:
    """Write a figure; its bytes follow from what is drawn."""
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=110, metadata={"Software": None})
