"""The training runs of a report: their curves, and the similarities that their groups ended with."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import read_arrays
from ddl_tf.common.text import figure_text
from ddl_tf.reporting.page import Picture, Section
from ddl_tf.reporting.palette import Style
from ddl_tf.training.plots import draw_distributions
from ddl_tf.training.run_folder import RunFolder, read_log

_ACROSS = 3
_FEW_POINTS = 30


def curve_columns(logs: Mapping[str, pd.DataFrame]) -> list[str]:
    """List the columns of logs that have a number, but `epoch`, each once, in the order in which they come."""
    names = [str(name) for log in logs.values() for name in log.select_dtypes("number").dropna(axis=1, how="all")]
    return [name for name in dict.fromkeys(names) if name != "epoch"]


def curves_figure(logs: Mapping[str, pd.DataFrame], styles: Mapping[str, Style]) -> Figure:
    """Draw every column of the logs over `epoch`, a panel for each column, a line for each run that has it."""
    columns = curve_columns(logs)
    rows = max(1, -(-len(columns) // _ACROSS))
    figure = Figure(figsize=(11, 2.5 * rows + 0.4), layout="constrained")
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
    panels = figure.subplots(1, len(similarities), squeeze=False)[0]
    for axes, (run, groups) in zip(panels, similarities.items()):
        draw_distributions(axes, groups)
        axes.set_title(f"{figure_text(run)}\n{axes.get_title()}", fontsize=9)
    return figure


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """What a training run left: its log, and the similarities of its groups at the end, if it had groups."""

    name: str
    log: pd.DataFrame
    similarities: dict[str, np.ndarray]


def read_runs(folders: Mapping[str, str]) -> list[LoggedRun]:
    """Read the logs of training runs, name -> run folder."""
    runs = []
    for name, path in folders.items():
        folder = RunFolder(Path(path))
        if not folder.log.is_file():
            raise InputError(f"{path}: no log.csv in it; name the folder of a training run")
        file = folder.path / "similarities.npz"
        similarities = read_arrays(file, "train the run again, or remove the file") if file.is_file() else {}
        runs.append(LoggedRun(name, read_log(folder.log), similarities))
    return runs


def curves_section(runs: Sequence[LoggedRun], styles: Mapping[str, Style]) -> Section:
    """Draw what the runs logged."""
    logs = {run.name: run.log for run in runs}
    epochs = "; ".join(f"{name}: {len(log):,} epochs" for name, log in logs.items())
    alternative = f"Training curves of {', '.join(curve_columns(logs))}. {epochs}."
    caption = "What each run logged at the end of its epochs (log.csv); what a run has not logged has no line of it."
    parts = [Picture("curves", curves_figure(logs, styles), alternative, caption)]
    groups = {run.name: run.similarities for run in runs if run.similarities}
    if groups:
        caption = (
            "Similarities of the rows of teacher (easy) and students (hard) at the end of training, on the same rows: "
            "of positive pairs, and of the hardest negative of each row. Dotted: the expectations; their distance is "
            "the margin."
        )
        alternative = f"Distributions of the similarities of teacher and student rows, for {', '.join(groups)}."
        parts.append(Picture("groups", groups_figure(groups), alternative, caption))
    return Section("training", "Training", parts=parts)
