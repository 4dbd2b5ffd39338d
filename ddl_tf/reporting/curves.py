"""The training curves of several runs, and the similarities that their groups ended with."""

from collections.abc import Mapping
from typing import Optional

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ddl_tf.common.text import figure_text
from ddl_tf.reporting.palette import Style, styles_of
from ddl_tf.training.plots import draw_distributions

_ACROSS = 3
_FEW_POINTS = 30


def curve_columns(logs: Mapping[str, pd.DataFrame]) -> list[str]:
    """List the columns of logs that have a number, but `epoch`, each once, in the order in which they come."""
    columns: dict[str, None] = {}
    for log in logs.values():
        for name in log.select_dtypes("number"):
            if name != "epoch" and log[name].notna().any():
                columns[str(name)] = None
    return list(columns)


def curves_figure(logs: Mapping[str, pd.DataFrame], styles: Optional[Mapping[str, Style]] = None) -> Figure:
    """Draw every column of the logs over the epochs, a panel for each column, a line for each run that has it.

    Args:
        logs: run -> its log, with the column `epoch`.
        styles: name -> how it is drawn; by the order if None.
    """
    styles = styles or styles_of(logs)
    columns = curve_columns(logs)
    rows = max(1, -(-len(columns) // _ACROSS))
    figure = Figure(figsize=(11, 2.5 * rows + 0.4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, _ACROSS, squeeze=False).ravel()
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    handles = {}
    for axes, column in zip(panels, columns):
        for run, log in logs.items():
            if column not in log:
                continue
            known = log[["epoch", column]].dropna()
            marker = styles[run].marker if len(known) < _FEW_POINTS else ""
            (handles[run],) = axes.plot(
                known["epoch"], known[column], label=figure_text(run), marker=marker, markersize=4, **styles[run].line
            )
        axes.set_title(figure_text(column), fontsize=10)
        axes.set_xlabel("epoch", fontsize=8)
        axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
        axes.tick_params(labelsize=8)
        axes.grid(alpha=0.3)
    figure.legend(handles.values(), map(figure_text, handles), loc="outside upper center", ncols=4, frameon=False)
    return figure


def groups_figure(similarities: Mapping[str, Mapping[str, np.ndarray]]) -> Figure:
    """Draw the similarities of the teacher's and the students' rows, a panel for each run."""
    figure = Figure(figsize=(max(6.0, 5.5 * len(similarities)), 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(similarities), squeeze=False)[0]
    for axes, (run, groups) in zip(panels, similarities.items()):
        draw_distributions(axes, groups)
        axes.set_title(f"{figure_text(run)}\n{axes.get_title()}", fontsize=9)
    return figure
