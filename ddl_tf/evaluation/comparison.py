"""Arms of an experiment side by side: what each does on the easy and on the hard set, and the gap between them."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.common.text import figure_text
from ddl_tf.evaluation.plots import Similarities

EASY, HARD = "#1b6ca8", "#d1495b"
_ACROSS = 3


def comparison_table(arms: Mapping[str, Sequence[Mapping[str, Any]]], easy: str, hard: str) -> pd.DataFrame:
    """Lay the results of several models side by side.

    Args:
        arms: name of the arm -> its results of `evaluate_pairs`, of at least the two sets.
        easy: name of the easy verification set.
        hard: name of the hard verification set.

    Returns:
        One row an arm: for each set its accuracy, AUC and TAR at FAR 1e-2 (0..1) and its expectation margin (mean
        similarity of same pairs less that of different ones); and the gap between the two margins.

    Example:
        >>> result = {"accuracy": 0.9, "auc": 0.95, "tar": {"1e-2": 0.5}, "expectation_margin": 0.4}
        >>> arms = {"ArcFace": [{"set": "easy", **result}, {"set": "hard", **result}]}
        >>> float(comparison_table(arms, "easy", "hard")["gap"].iloc[0])
        0.0
    """
    rows = []
    for arm, results in arms.items():
        by_set = {result["set"]: result for result in results}
        row: dict[str, Any] = {"arm": arm}
        for name in by_set:
            row[f"{name} accuracy"] = by_set[name]["accuracy"]
            row[f"{name} AUC"] = by_set[name]["auc"]
            row[f"{name} TAR@1e-2"] = by_set[name]["tar"]["1e-2"]
            row[f"{name} margin"] = by_set[name]["expectation_margin"]
        row["gap"] = by_set[easy]["expectation_margin"] - by_set[hard]["expectation_margin"]
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
    """Draw the similarity distributions of easy and hard pairs, one panel an arm.

    The vertical lines are the means; the margin of a set is the distance between that of its same pairs and that of its
    different ones, and the gap is the difference between the margins of easy and hard. Pairs that were not compared are
    left out.

    Args:
        arms: name of the arm -> the similarities of its easy and of its hard pairs.

    Returns:
        The figure, with `savefig`. The global state of pyplot is not touched.

    References:
        Huang et al., ECCV 2020, figure 1.
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
