"""The training runs of a report."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import read_arrays
from ddl_tf.reporting.curves import curve_columns, curves_figure, groups_figure
from ddl_tf.reporting.page import Picture, Section
from ddl_tf.reporting.palette import Style
from ddl_tf.training.run_folder import RunFolder, read_log


@dataclasses.dataclass(frozen=True)
class LoggedRun:
    """What a training run left.

    Attributes:
        name: in the report.
        log: a row for each epoch.
        similarities: of its groups at the end, by `positive_0`, ...; empty if it had no groups.
    """

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
        similarities: dict[str, np.ndarray] = {}
        file = folder.path / "similarities.npz"
        if file.is_file():
            similarities = read_arrays(file, "train the run again, or remove the file")
        runs.append(LoggedRun(name, read_log(folder.log), similarities))
    return runs


def curves_section(runs: Sequence[LoggedRun], styles: Mapping[str, Style]) -> Section:
    """Draw what the runs logged."""
    logs = {run.name: run.log for run in runs}
    said = "; ".join(f"{name}: {len(log):,} epochs" for name, log in logs.items())
    columns = ", ".join(curve_columns(logs))
    parts = [
        Picture(
            "curves",
            curves_figure(logs, styles),
            f"Training curves of {columns}. {said}.",
            "What each run logged at the end of its epochs (log.csv); what a run has not logged has no line of it.",
        )
    ]
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
