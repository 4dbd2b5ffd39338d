"""Plots of a run: its curves, and the similarity distributions that it ended with."""

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ddl_tf
from ddl_tf.common.files import write_aside
from ddl_tf.common.text import figure_text
from ddl_tf.training.run_folder import RunFolder

TEACHER_COLOUR = "#1b6ca8"
STUDENT_COLOURS = ("#d1495b", "#edae49", "#66a182", "#8d5a97", "#5c4742")
LOW, HIGH, NODES = -0.5, 1.0, 300


def draw_distributions(axes: Axes, similarities: Mapping[str, np.ndarray]) -> None:
    """Draw the distributions of `positive_0`, `negative_0`, `positive_1`, ... -> `[count]`, with their expectations."""
    t = LOW + np.arange(NODES) * (HIGH - LOW) / NODES
    margins = {}
    for group in sorted({int(key.rsplit("_", 1)[1]) for key in similarities}):
        name = f"student {group} (hard)" if group else "teacher (easy)"
        colour = STUDENT_COLOURS[(group - 1) % len(STUDENT_COLOURS)] if group else TEACHER_COLOUR
        means = {}
        for kind, style in (("positive", "-"), ("negative", "--")):
            values = similarities.get(f"{kind}_{group}", np.empty(0))
            if not len(values):
                continue
            density = (
                ddl_tf.losses.similarity_distribution(values, NODES, (LOW, HIGH), 0.03).numpy() * NODES / (HIGH - LOW)
            )
            label = f"{name}, {kind if kind == 'positive' else 'hardest negative'}s"
            axes.plot(t, density, style, color=colour, label=label)
            axes.axvline(float(np.mean(values)), color=colour, linestyle=":", linewidth=0.8)
            means[kind] = float(np.mean(values))
        if len(means) == 2:
            margins[name] = means["positive"] - means["negative"]
    title = ", ".join(f"{name} {margin:.2f}" for name, margin in margins.items())
    axes.set_title(f"expectation margin E[S+] - E[S-]: {title}", fontsize=9)
    axes.set(xlabel="cosine similarity", ylabel="density", xlim=(LOW, HIGH))
    axes.legend(fontsize=8)


def _curves(log: pd.DataFrame) -> Figure:
    """One panel for each kind of quantity, over the epochs."""
    columns = [str(column) for column in log]
    panels = {
        "loss": [c for c in columns if c == "loss" or c.endswith("_loss")],
        "DDL terms": [c for c in columns if c.endswith(("positive_kl", "negative_kl", "_order", "_overlap"))],
        "expectation margin": [c for c in columns if "margin_" in c or "gap_" in c],
        "overlap with the teacher": [c for c in columns if "_overlap_" in c],
        "verification accuracy": [c for c in columns if c.endswith("/accuracy")],
        "verification AUC": [c for c in columns if c.endswith("/auc")],
        "learning rate": ["learning_rate"],
    }
    shown = {title: names for title, names in panels.items() if names}
    rows = -(-len(shown) // 2)
    figure = Figure(figsize=(11, 3 * rows), layout="constrained")
    for position, (title, names) in enumerate(shown.items()):
        axes = figure.add_subplot(rows, 2, position + 1)
        for column in names:
            values = log[column].dropna()
            marker = "." if len(values) < 30 else ""
            axes.plot(log.loc[values.index, "epoch"], values, marker=marker, label=figure_text(column))
        axes.set_title(title, fontsize=10)
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.3)
        axes.legend(fontsize=7)
    return figure


def save_figure(figure: Figure, path: Path) -> None:
    """Write a figure atomically, in the format of the suffix."""
    with write_aside(path) as aside:
        figure.savefig(aside, dpi=110)


def plot_run(folder: RunFolder) -> None:
    """Draw `curves.png`, and `similarities.png` if the run had groups, into the run folder."""
    save_figure(_curves(pd.read_csv(folder.log)), folder.path / "curves.png")
    similarities = folder.path / "similarities.npz"
    if similarities.exists():
        figure = Figure(figsize=(8, 4), layout="constrained")
        with np.load(similarities) as arrays:
            draw_distributions(figure.add_subplot(), dict(arrays))
        save_figure(figure, folder.path / "similarities.png")
