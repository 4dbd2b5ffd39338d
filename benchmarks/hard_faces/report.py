"""The report of an experiment: Markdown tables on stdout, the numbers of all runs as CSV, and two figures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.text import figure_text
from ddl_tf.metrics.seeds import compare_seeds
from ddl_tf.reporting.palette import GREY, Style, style
from ddl_tf.tuning.arms import ARMS, START
from ddl_tf.tuning.runs import RESULTS
from hard_faces.identification import RUN, compared_rows, read_identification

TAR, RANK = "tar@1e-3", "rank1"
MEASURES = {TAR: "TAR@1e-3", "auc": "AUC", RANK: "rank-1"}
COLUMNS = [*RUN, "set", "tar@1e-2", TAR, "auc", RANK]


def numbers(run_dir: Path) -> pd.DataFrame:
    """Put verification and identification of the compared runs together.

    Args:
        run_dir: of `tune`.

    Returns:
        `COLUMNS`, a row for each run and set, arms in the order of `ARMS`.
    """
    compared = compared_rows(run_dir).astype({"seed": str})
    table = compared.merge(read_identification(run_dir), on=[*RUN, "set"], how="left")
    order = {arm: place for place, arm in enumerate(ARMS)}
    return table.sort_values("arm", key=lambda arms: arms.map(order), kind="stable")[COLUMNS].reset_index(drop=True)


def means_table(table: pd.DataFrame, sets: Sequence[str], measure: str) -> pd.DataFrame:
    """Put means and standard deviations over seeds into a table: a row for each arm, a column for each set."""
    rows = []
    for arm, runs in table.groupby("arm", sort=False):
        tuned, value = ARMS[str(arm)].tuned, runs["value"].iloc[0]
        row = {"arm": ARMS[str(arm)].title, "chosen": f"{tuned} {value}" if value else ""}
        for name in sets:
            values = runs.loc[runs["set"] == name, measure]
            row[name] = f"{values.mean():.4f} ± {values.std():.4f}"
        rows.append({**row, "seeds": runs["seed"].nunique()})
    return pd.DataFrame(rows)


def is_ddl(arm: str) -> bool:
    """Whether an arm trains with Distribution Distillation Loss."""
    return ARMS[arm].flags.get("embedding_loss") == "ddl"


def best_ddl(run_dir: Path, table: pd.DataFrame, hard: Sequence[str]) -> Optional[str]:
    """Find the best of the arms with DDL: by the people by whom values were chosen, not by those it is compared on.

    Args:
        run_dir: of `tune`.
        table: of `numbers`.
        hard: the sets of the choice.

    Returns:
        The arm; None if none was compared.
    """
    tried = pd.read_csv(run_dir / RESULTS, dtype={"set": str})
    tried = tried[(tried["stage"] == "choose") & tried["set"].isin(hard)]
    means = {}
    for arm, value in table[["arm", "value"]].drop_duplicates().itertuples(index=False):
        if is_ddl(arm):
            mine = tried[(tried["arm"] == arm) & np.isclose(tried["value"], float(value))]
            means[arm] = mine[TAR].mean()
    return max(means, key=lambda arm: means[arm]) if means else None


def differences_table(table: pd.DataFrame, best: str, sets: Sequence[str], measure: str) -> pd.DataFrame:
    """Compare an arm with every arm without DDL, over the seeds that both have.

    Args:
        table: of `numbers`.
        best: the arm.
        sets: those to compare on.
        measure: a column.

    Returns:
        A row for each other arm, with the difference on each set and its interval of 95%.
    """
    by_run = table.pivot(index="seed", columns=["arm", "set"], values=measure)
    rows = []
    for arm in dict.fromkeys(table["arm"]):
        if not is_ddl(arm):
            cells = {name: _difference(by_run[[(best, name), (arm, name)]].dropna()) for name in sets}
            rows.append({"less that of": ARMS[arm].title, **cells})
    return pd.DataFrame(rows)


def _difference(pair: pd.DataFrame) -> str:
    a, b = (pair.iloc[:, place].tolist() for place in (0, 1))
    try:
        result = compare_seeds(a, b)
    except InputError:
        # Of one seed, or of the same difference for every seed, there is no chance to estimate.
        return f"{np.mean(a) - np.mean(b):+.4f}" if a else "-"
    return f"{result.difference:+.4f} [{result.low:+.4f}, {result.high:+.4f}]"


def results_figure(table: pd.DataFrame, sets: Sequence[str]) -> Figure:
    """Draw TAR@1e-3 and rank-1 of every arm on each set: small dots are seeds, the large one their mean.

    Args:
        table: of `numbers`.
        sets: in their order.

    Returns:
        The figure, with `savefig`.
    """
    arms = list(dict.fromkeys(table["arm"]))
    figure = Figure(figsize=(2.2 + 2.6 * len(sets), 2 + 0.55 * len(arms)), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots(2, len(sets), sharey=True, squeeze=False)
    for row, measure in zip(axes, (TAR, RANK)):
        for panel, name in zip(row, sets):
            _draw(panel, table[table["set"] == name], arms, measure)
            panel.set_title(f"{MEASURES[measure]}, {figure_text(name)}", fontsize=10)
    figure.supxlabel("small dots: seeds; large: their mean", fontsize=9, color=GREY)
    return figure


def _draw(axes: Axes, table: pd.DataFrame, arms: Sequence[str], measure: str) -> None:
    for place, arm in enumerate(arms):
        values, look = table.loc[table["arm"] == arm, measure].to_numpy(float), _look(arm)
        axes.scatter(values, place + np.linspace(-0.18, 0.18, len(values)), s=14, color=look.colour, alpha=0.5)
        axes.plot(values.mean(), place, look.marker, color=look.colour, markersize=7)
    axes.set_yticks(range(len(arms)), [ARMS[arm].title for arm in arms])
    axes.set_ylim(len(arms) - 0.5, -0.5)
    axes.grid(alpha=0.3, axis="x")


def tradeoff_figure(table: pd.DataFrame, easy: str, hard: Sequence[str]) -> Figure:
    """Draw what every arm is worth on hard faces against what it keeps on easy ones, in TAR@1e-3.

    Args:
        table: of `numbers`.
        easy: the set of easy faces.
        hard: the sets of hard faces, each a panel.

    Returns:
        The figure, with `savefig`. Crosses are standard deviations over seeds.
    """
    figure = Figure(figsize=(3 + 4.2 * len(hard), 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(hard), squeeze=False)[0]
    by_run = table.pivot(index=["arm", "seed"], columns="set", values=TAR)
    for panel, name in zip(panels, hard):
        for arm in dict.fromkeys(table["arm"]):
            runs, look = by_run.loc[arm, [easy, name]], _look(arm)
            (x, y), (width, height) = runs.mean(), runs.std()
            drawn = panel.errorbar(x, y, height, width, look.marker, color=look.colour, markersize=8, elinewidth=0.8)
            drawn.set_label(ARMS[arm].title)
        panel.set_title(f"{figure_text(name)} faces", fontsize=11)
        panel.set_xlabel(f"TAR@1e-3, {figure_text(easy)} faces")
        panel.grid(alpha=0.3)
    panels[0].set_ylabel("TAR@1e-3, hard faces")
    figure.legend(*panels[0].get_legend_handles_labels(), loc="outside right center", fontsize=9)
    return figure


def _look(arm: str) -> Style:
    """The same for an arm in all figures; grey for what is not trained."""
    return Style(GREY, "-", "o") if arm == START else style([name for name in ARMS if name != START].index(arm))


def report(name: str, run_dir: Path, sets: Sequence[str], hard: Sequence[str], results: str, images: str) -> None:
    """Print the tables, write the numbers of all runs, and draw the figures.

    Args:
        name: of the experiment.
        run_dir: of `tune`.
        sets: all sets, in the order of the tables.
        hard: those by which values were chosen.
        results: folder of the CSV file.
        images: folder of the figures.
    """
    table = numbers(run_dir)
    print(f"## {name}\n")
    for measure, title in MEASURES.items():
        print(f"{title}, mean ± standard deviation over seeds:\n")
        print(markdown_table(means_table(table, sets, measure)), end="\n\n")
    best = best_ddl(run_dir, table, hard)
    for measure in (TAR, RANK) if best else ():
        print(f"{MEASURES[measure]} of {ARMS[str(best)].title}, with the interval of 95% over seeds:\n")
        print(markdown_table(differences_table(table, str(best), sets, measure)), end="\n\n")
    path = Path(results) / f"{name}.csv"
    with write_aside(path) as aside:
        table.round(6).to_csv(aside, index=False)
    print(f"numbers: {path}")
    easy, *_ = sets
    figures = {"results": results_figure(table, sets), "tradeoff": tradeoff_figure(table, easy, hard)}
    for kind, figure in figures.items():
        plot = Path(images) / f"{kind}_{name}.png"
        with write_aside(plot) as aside:
            # Its bytes follow from what is drawn.
            figure.savefig(aside, dpi=110, metadata={"Software": None})
        print(f"figure: {plot}")
