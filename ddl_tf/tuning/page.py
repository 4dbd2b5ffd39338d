"""The page of a comparison of fine-tunings: what is worth it, the arms side by side, what was tried."""

import datetime
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import ddl_tf
from ddl_tf.reporting.layout_table import Strong, TextTable
from ddl_tf.reporting.page import Picture, Section, write_report
from ddl_tf.reporting.palette import GREY, style
from ddl_tf.tuning.arms import ARMS
from ddl_tf.tuning.choice import Comparison, difference_text


def write_page(
    folder: Path,
    sentence: str,
    comparisons: Sequence[Comparison],
    compared: pd.DataFrame,
    tried: pd.DataFrame,
    chosen: Mapping[str, Optional[float]],
    measure: str,
    on_test: bool,
) -> Path:
    """Write the page of a comparison.

    Args:
        folder: for `index.html`, figures and tables.
        sentence: of `verdict`.
        comparisons: of `compare_arms`.
        compared: of `run_numbers`, several seeds of each arm.
        tried: of `run_numbers`, every value of each arm.
        chosen: arm -> value.
        measure: of the numbers.
        on_test: whether `compared` is of other people than those by whom values were chosen.

    Returns:
        The page.
    """
    people = "on the people of --test_pairs" if on_test else "on the people by whom the values were chosen"
    note = (
        "" if on_test else " Such numbers are better than those of new people; give --test_pairs to compare on others."
    )
    today = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
    sections = [
        Section("findings", "Is it worth it?", [sentence + note], [_differences(comparisons, measure)]),
        Section("arms", f"The arms, {people}", [], [_arms(compared, measure), _means(compared, chosen, measure)]),
        Section("tried", "What was tried", [], [_tried(tried, chosen, measure)]),
    ]
    summary = f"Fine-tunings compared by {measure}. Made on {today} by ddl_tf {ddl_tf.__version__}."
    return write_report(folder, "Fine-tuning, compared", summary, sections)


def _differences(comparisons: Sequence[Comparison], measure: str) -> TextTable:
    rows = []
    for comparison in comparisons:
        hard, easy = comparison.hard, comparison.easy
        text = difference_text(hard)
        rows.append(
            [
                ARMS[comparison.arm].title,
                Strong(text) if comparison.is_better else text,
                "" if math.isnan(comparison.p) else f"{comparison.p:.2g}",
                difference_text(easy),
                str(hard.seeds),
            ]
        )
    other = ARMS[comparisons[0].other].title if comparisons else ""
    caption = f"{measure} less that of {other}, with the interval of 95% over seeds; p is corrected after Holm."
    return TextTable("differences", caption, ["arm", "hard pairs", "p", "easy pairs", "seeds"], rows)


def _means(compared: pd.DataFrame, chosen: Mapping[str, Optional[float]], measure: str) -> TextTable:
    rows = []
    for arm, numbers in compared.groupby("arm", sort=False):
        value = chosen.get(str(arm))
        tuned = "" if value is None else f"{ARMS[str(arm)].tuned} {value:g}"
        cells = [f"{numbers[name].mean():.4f} ± {numbers[name].std():.4f}" for name in ("hard", "easy")]
        rows.append([ARMS[str(arm)].title, tuned, *cells])
    caption = f"{measure}: mean and standard deviation over seeds."
    return TextTable("means", caption, ["arm", "chosen", "hard pairs", "easy pairs"], rows, heads=2)


def _tried(tried: pd.DataFrame, chosen: Mapping[str, Optional[float]], measure: str) -> TextTable:
    rows = []
    for arm, value, hard, easy in tried[["arm", "value", "hard", "easy"]].itertuples(index=False):
        if ARMS[arm].tuned:
            text = "diverged" if np.isnan(hard) else f"{hard:.4f}"
            cell = Strong(text) if chosen.get(arm) == value else text
            rows.append(
                [ARMS[arm].title, f"{ARMS[arm].tuned} {value:g}", cell, "" if np.isnan(easy) else f"{easy:.4f}"]
            )
    caption = f"{measure} of every value, one seed each; the chosen one is bold."
    return TextTable("tried", caption, ["arm", "value", "hard pairs", "easy pairs"], rows, heads=2, folded=True)


def _arms(compared: pd.DataFrame, measure: str) -> Picture:
    figure = Figure(figsize=(11, 1.2 + 0.45 * compared["arm"].nunique()), layout="constrained")
    for axes, kind in zip(figure.subplots(1, 2, sharey=True), ("hard", "easy")):
        _draw(axes, compared, kind)
        axes.set_title(f"{measure} of the {kind} pairs")
    return Picture(
        "arms",
        figure,
        f"{measure} of every arm on hard and on easy pairs, a dot for each seed.",
        "Dots are seeds, the large one is their mean.",
    )


def _draw(axes: Axes, compared: pd.DataFrame, kind: str) -> None:
    arms = [str(arm) for arm in dict.fromkeys(compared["arm"])]
    for place, arm in enumerate(arms):
        values = compared.loc[compared["arm"] == arm, kind].to_numpy(float)
        look = style(place - 1) if place else None
        colour, marker = (look.colour, look.marker) if look else (GREY, "o")
        axes.scatter(values, np.full(len(values), place), s=14, color=colour, alpha=0.5)
        axes.plot(np.nanmean(values), place, marker, color=colour, markersize=8)
    axes.set_yticks(range(len(arms)), [ARMS[arm].title for arm in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.grid(alpha=0.3, axis="x")
