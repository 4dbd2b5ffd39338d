"""Figures of ranks: how often the mate of a probe is among the first, and in which condition."""

from collections.abc import Mapping
from typing import Optional

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.common.text import figure_text
from ddl_tf.metrics.bootstrap import bootstrap_rates, rate_interval
from ddl_tf.metrics.ranks import cmc_curve
from ddl_tf.reporting.bins import draw_shares
from ddl_tf.reporting.palette import Style, styles_of

_LARGEST_RANK = 50


def rank1_table(
    rank: np.ndarray,
    condition: np.ndarray,
    person: Optional[np.ndarray] = None,
    replicates: int = 1000,
    seed: int = 0,
) -> pd.DataFrame:
    """Compute the rank-1 rate of each condition.

    Args:
        rank: `[probes]` int, from 1, of the mate; 0 = never found.
        condition: `[probes]` text.
        person: `[probes]` whom each shows; None where that is not known.
        replicates: of the bootstrap over people.
        seed: of the bootstrap.

    Returns:
        A row for each condition, sorted: `condition`, `probes`, `rank1`, and the 95% interval `low`, `high`, 0..1: by
        the bootstrap over people where they are known, else Wilson's, which takes the probes as independent.
    """
    rows = []
    for name in np.unique(condition):
        inside = condition == name
        hits, probes = int(np.sum(rank[inside] == 1)), int(inside.sum())
        if person is None:
            low, high = rate_interval(hits, probes)
        else:
            low, high = bootstrap_rates(rank[inside] == 1, replicates, seed, person[inside])
        rows.append({"condition": str(name), "probes": probes, "rank1": hits / probes, "low": low, "high": high})
    return pd.DataFrame(rows)


def identification_figure(
    name: str,
    ranks: Mapping[str, np.ndarray],
    tables: Mapping[str, pd.DataFrame],
    styles: Optional[Mapping[str, Style]] = None,
) -> Figure:
    """Draw the CMC, and the rank-1 rate of each condition where there are several.

    `ranks` are, for each model, `[probes]` int, from 1, of the mate; 0 = never found. `tables` are of `rank1_table`.
    """
    styles = styles or styles_of(ranks)
    first = next(iter(tables.values()))
    several = len(first) > 1
    figure = Figure(figsize=(11, 4) if several else (6.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + several, squeeze=False)[0]
    # Beyond the last mate that any model finds, nothing happens.
    largest = int(np.clip(max(rank.max() for rank in ranks.values()), 5, _LARGEST_RANK))
    for model, rank in ranks.items():
        panels[0].step(
            np.arange(1, largest + 1),
            cmc_curve(rank, largest),
            where="post",
            label=figure_text(model),
            **styles[model].line,
        )
    panels[0].set(xlabel="rank", ylabel="share of probes found", title=f"{figure_text(name)}: CMC", xlim=(1, largest))
    panels[0].set_xticks([tick for tick in (1, 5, *range(10, _LARGEST_RANK + 1, 10)) if tick <= largest])
    panels[0].grid(alpha=0.3)
    panels[0].legend(fontsize=8, loc="lower right")
    if several:
        labels = [f"{figure_text(one)}\n{probes:,} probes" for one, probes in zip(first["condition"], first["probes"])]
        rates = {
            model: (table["rank1"].to_numpy(), table["low"].to_numpy(), table["high"].to_numpy())
            for model, table in tables.items()
        }
        draw_shares(panels[1], rates, labels, "rank-1 rate", styles)
        panels[1].set_title(f"{figure_text(name)}: rank-1 by condition")
    return figure
