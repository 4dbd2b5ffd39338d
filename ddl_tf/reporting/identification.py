"""Figures of ranks: how often the mate of a probe is among the first, and in which condition."""

from collections.abc import Mapping

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.evaluation.bootstrap import rate_interval
from ddl_tf.reporting.bins import draw_shares
from ddl_tf.reporting.palette import style

_LARGEST_RANK = 50


def cmc(rank: np.ndarray, largest: int = _LARGEST_RANK) -> np.ndarray:
    """Compute the cumulative match characteristic.

    Args:
        rank: `[probes]` int, from 1, of the mate; 0 = never found.
        largest: rank to go to.

    Returns:
        `[largest]`: the share of all probes whose mate is among the first 1, 2, ...

    Example:
        >>> cmc(np.array([1, 3, 0, 2]), 3)
        array([0.25, 0.5 , 0.75])
    """
    return np.bincount(rank, minlength=largest + 1)[1 : largest + 1].cumsum() / len(rank)


def rank1_table(rank: np.ndarray, condition: np.ndarray) -> pd.DataFrame:
    """Compute the rank-1 rate of each condition.

    Args:
        rank: `[probes]` int, from 1, of the mate; 0 = never found.
        condition: `[probes]` text.

    Returns:
        A row for each condition, sorted: `condition`, `probes`, `rank1`, `low`, `high` (Wilson's 95%), 0..1.
    """
    rows = []
    for name in np.unique(condition):
        inside = condition == name
        hits, probes = int(np.sum(rank[inside] == 1)), int(inside.sum())
        low, high = rate_interval(hits, probes)
        rows.append({"condition": str(name), "probes": probes, "rank1": hits / probes, "low": low, "high": high})
    return pd.DataFrame(rows)


def identification_figure(name: str, ranks: Mapping[str, np.ndarray], condition: np.ndarray) -> Figure:
    """Draw the CMC, and the rank-1 rate of each condition where there are several.

    Args:
        name: of the set.
        ranks: model -> `[probes]` int, from 1, of the mate; 0 = never found.
        condition: `[probes]` text, "" where there is one only.

    Returns:
        The figure, with `savefig`. The global state of pyplot is not touched.
    """
    several = len(np.unique(condition)) > 1
    figure = Figure(figsize=(11, 4) if several else (6.5, 4), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 1 + several, squeeze=False)[0]
    # Beyond the last mate that any model finds, nothing happens.
    largest = int(np.clip(max(rank.max() for rank in ranks.values()), 5, _LARGEST_RANK))
    for position, (model, rank) in enumerate(ranks.items()):
        panels[0].step(np.arange(1, largest + 1), cmc(rank, largest), where="post", label=model, **style(position).line)
    panels[0].set(xlabel="rank", ylabel="share of probes found", title=f"{name}: CMC", xlim=(1, largest))
    panels[0].set_xticks([tick for tick in (1, 5, *range(10, _LARGEST_RANK + 1, 10)) if tick <= largest])
    panels[0].grid(alpha=0.3)
    panels[0].legend(fontsize=8, loc="lower right")
    if several:
        tables = {model: rank1_table(rank, condition) for model, rank in ranks.items()}
        first = next(iter(tables.values()))
        labels = [f"{name}\n{probes:,} probes" for name, probes in zip(first["condition"], first["probes"])]
        rates = {
            model: (table["rank1"].to_numpy(), table["low"].to_numpy(), table["high"].to_numpy())
            for model, table in tables.items()
        }
        draw_shares(panels[1], rates, labels, "rank-1 rate")
        panels[1].set_title(f"{name}: rank-1 by condition")
    return figure
