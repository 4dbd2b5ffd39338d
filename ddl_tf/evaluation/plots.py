"""Plots of verification results, of one model and of the arms of an experiment side by side."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import figure_text
from ddl_tf.metrics.roc import eer, roc_curve
from ddl_tf.metrics.templates import NEVER

SAME, DIFFERENT = "#1b7f5c", "#c4473a"
EASY, HARD = "#1b6ca8", "#d1495b"
_ACROSS = 3


@dataclasses.dataclass(frozen=True)
class Similarities:
    """The similarities of the pairs of a set.

    Attributes:
        name: of the set.
        similarity: `[pairs]` cosines, -1..1; `NEVER` of a pair of which a side has no image.
        same: `[pairs]` bool.
    """

    name: str
    similarity: np.ndarray
    same: np.ndarray

    @property
    def compared(self) -> "Similarities":
        """The pairs of which both sides have an image: the others have no similarity to draw or average."""
        compared = self.similarity != NEVER
        return Similarities(self.name, self.similarity[compared], self.same[compared])

    @property
    def margin(self) -> float:
        """The mean similarity of same pairs less that of different ones, of the pairs that were compared."""
        compared = self.compared
        return float(compared.similarity[compared.same].mean() - compared.similarity[~compared.same].mean())

    @property
    def left_out(self) -> int:
        """How many pairs were not compared."""
        return int(np.sum(self.similarity == NEVER))


def check_format(path: str) -> None:
    """Refuse a file name whose ending is no format that matplotlib writes."""
    formats = FigureCanvasAgg.get_supported_filetypes()
    if Path(path).suffix[1:].lower() not in formats:
        raise InputError(
            f"plot {path}: the name must end in .png, .pdf, .svg or another of {', '.join(sorted(formats))}"
        )


def _draw_roc(axes: Axes, pairs: Similarities) -> None:
    far, tar = roc_curve(pairs.similarity, pairs.same)
    lowest = 0.5 / np.sum(~pairs.same)
    axes.step(np.maximum(far, lowest), tar, where="post", color="#2f4b8f")
    rate = eer(far, tar)
    axes.plot([rate], [1 - rate], "o", color="#2f4b8f", label=f"EER {rate:.2%}")
    axes.set(xscale="log", xlim=(lowest, 1), ylim=(0, 1.02))
    axes.set(xlabel="false accept rate", ylabel="true accept rate", title=f"{figure_text(pairs.name)}: ROC")
    axes.legend(loc="lower right")


def draw_distributions(axes: Axes, pairs: Similarities) -> None:
    """Draw the distributions of a set's same and different similarities, and their means; of the compared pairs."""
    left_out, pairs = pairs.left_out, pairs.compared
    # Rounding puts the similarity of equal images just above 1.
    similarity = np.clip(pairs.similarity, -1, 1)
    bins = np.linspace(min(-0.5, similarity.min()), 1, 61).tolist()
    for wanted, color, text in ((True, SAME, "same"), (False, DIFFERENT, "different")):
        chosen = similarity[pairs.same == wanted]
        axes.hist(chosen, bins=bins, density=True, color=color, alpha=0.55, label=f"{text}, mean {chosen.mean():.2f}")
        axes.axvline(chosen.mean(), color=color, linestyle="--", linewidth=1)
    counts = f"{np.sum(pairs.same)} same, {np.sum(~pairs.same)} different pairs"
    if left_out:
        counts += f";\n{left_out} of a side without an image left out"
    axes.set(xlabel="cosine similarity", ylabel="density", title=f"{figure_text(pairs.name)}: {counts}")
    # Room for the legend above the distributions.
    axes.set(xlim=(bins[0], bins[-1]), ylim=(0, 1.25 * axes.get_ylim()[1]))
    axes.legend(loc="upper left", ncols=2)


def verification_figure(sets: Sequence[Similarities]) -> Figure:
    """Draw, for each set, its ROC and the distributions of its same and different similarities.

    Args:
        sets: at least one; one row of the figure for each.

    Returns:
        The figure, with `savefig`. The global state of pyplot is not touched.

    Example:
        >>> pairs = Similarities("lfw", np.array([0.8, 0.7, 0.1, 0.0]), np.array([True, True, False, False]))
        >>> len(verification_figure([pairs]).axes)
        2
    """
    figure = Figure(figsize=(11, 3.8 * len(sets)), layout="constrained")
    FigureCanvasAgg(figure)
    for row, pairs in zip(figure.subplots(len(sets), 2, squeeze=False), sets):
        _draw_roc(row[0], pairs)
        draw_distributions(row[1], pairs)
        for axes in row:
            axes.grid(alpha=0.3)
    return figure


def comparison_table(arms: Mapping[str, Sequence[Mapping[str, Any]]], easy: str, hard: str) -> pd.DataFrame:
    """Lay the results of `evaluate_pairs` of several arms side by side, one row an arm.

    The row has for each set accuracy, AUC, TAR at FAR 1e-2 and the expectation margin, and the gap between the margins.
    """
    rows = []
    for arm, results in arms.items():
        row: dict[str, Any] = {"arm": arm}
        for result in results:
            row[f"{result['set']} accuracy"] = result["accuracy"]
            row[f"{result['set']} AUC"] = result["auc"]
            row[f"{result['set']} TAR@1e-2"] = result["tar"]["1e-2"]
            row[f"{result['set']} margin"] = result["expectation_margin"]
        row["gap"] = row[f"{easy} margin"] - row[f"{hard} margin"]
        rows.append(row)
    return pd.DataFrame(rows)


def _draw_arm(axes: Axes, arm: str, easy: Similarities, hard: Similarities, bins: np.ndarray) -> None:
    margins = []
    for pairs, colour, kind in ((easy, EASY, "easy"), (hard, HARD, "hard")):
        for wanted, filled, text in ((True, True, "same"), (False, False, "different")):
            chosen = pairs.similarity[pairs.same == wanted]
            style: dict[str, Any] = {"histtype": "stepfilled", "alpha": 0.35} if filled else {"histtype": "step"}
            axes.hist(chosen, bins=bins.tolist(), density=True, color=colour, label=f"{kind}, {text}", **style)
            axes.axvline(float(chosen.mean()), color=colour, linestyle="-" if filled else ":", linewidth=1.2)
        margins.append(pairs.margin)
    axes.set_title(
        f"{figure_text(arm)}\nmargin: easy {margins[0]:.2f}, hard {margins[1]:.2f}, gap {margins[0] - margins[1]:.2f}"
    )
    axes.set_xlabel("cosine similarity of a pair")
    axes.grid(alpha=0.3)


def comparison_figure(arms: Mapping[str, tuple[Similarities, Similarities]]) -> Figure:
    """Draw the similarity distributions of each arm's easy and hard pairs, as Huang et al., ECCV 2020, figure 1.

    The vertical lines are the means; the margin of a set is the distance between that of its same pairs and that of its
    different ones, and the gap is the difference between the margins of easy and hard. Pairs that were not compared are
    left out, and the global state of pyplot is not touched.
    """
    arms = {arm: (easy.compared, hard.compared) for arm, (easy, hard) in arms.items()}
    everything = np.concatenate([pairs.similarity for pair in arms.values() for pairs in pair])
    bins = np.linspace(everything.min(), everything.max(), 41)
    across = min(_ACROSS, len(arms))
    down = -(-len(arms) // across)
    figure = Figure(figsize=(max(6.0, 4.4 * across), 0.4 + 3.4 * down), layout="constrained")
    FigureCanvasAgg(figure)
    # One scale of the densities, so that the arms can be compared; empty places have no axes.
    grid = figure.add_gridspec(down, across)
    panels: list[Axes] = []
    for place, (arm, (easy, hard)) in enumerate(arms.items()):
        panels.append(figure.add_subplot(grid[place // across, place % across], sharey=panels[0] if panels else None))
        _draw_arm(panels[-1], arm, easy, hard, bins)
        if place % across == 0:
            panels[-1].set_ylabel("density")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=4, frameon=False, fontsize=9)
    return figure
