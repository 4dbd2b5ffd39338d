"""How evenly models do on the races of Racial Faces in-the-Wild."""

from collections.abc import Mapping, Sequence
from typing import Optional

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.reporting.bins import draw_shares
from ddl_tf.reporting.evaluations import EvaluatedModel
from ddl_tf.reporting.numbers import interval_of
from ddl_tf.reporting.palette import Style

RACE_SETS = ("rfw_african", "rfw_asian", "rfw_caucasian", "rfw_indian")


def race_figure(models: Sequence[EvaluatedModel], styles: Optional[Mapping[str, Style]] = None) -> Figure:
    """Draw the accuracy on the four sets of RFW, a point for each model."""
    figure = Figure(figsize=(7.5, 3.8), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    rates = {}
    for model in models:
        results = [model.sets[name].result for name in RACE_SETS]
        accuracy = np.array([result["accuracy"] for result in results])
        # A number without an interval has a bar of no length.
        ends = np.array([interval_of(one, "accuracy") or (one["accuracy"],) * 2 for one in results])
        rates[model.name] = (accuracy, ends[:, 0], ends[:, 1])
    labels = [
        f"{name.removeprefix('rfw_').capitalize()}\n{models[0].sets[name].result['pairs']:,} pairs"
        for name in RACE_SETS
    ]
    draw_shares(axes, rates, labels, "accuracy", styles)
    figure.legend(loc="outside upper center", ncols=4, frameon=False, fontsize=9)
    return figure
