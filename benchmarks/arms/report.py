"""The report of an experiment: Markdown tables on stdout, the plot, and the page of stored evaluations."""

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from arms import plots
from arms.analysis import BASELINE, DETACHED, OURS, TAR, WITHOUT_DDL, Compared, compare_all, goals, mean_of, numbers
from arms.catalogue import ALL
from arms.experiment import Experiment
from arms.results import tuned_value
from ddl_tf.common.errors import InputError
from ddl_tf.common.markdown import markdown_table

MAIN = {"hard auc": "hard AUC", f"hard {TAR}": "hard TAR@1e-2", "hard margin": "hard margin", "gap": "gap"}


def means_table(by_run: pd.DataFrame, columns: dict[str, str], values: dict[str, str]) -> pd.DataFrame:
    """Put means and standard deviations over seeds into a table.

    Args:
        by_run: of `analysis.numbers`.
        columns: number -> heading.
        values: arm -> its tuned value.

    Returns:
        A row for each arm.
    """
    rows = []
    for arm in dict.fromkeys(by_run.index.get_level_values("arm")):
        mine = by_run.loc[arm]
        row = {"arm": ALL[arm].title, "tuned": values.get(arm, ""), "seeds": len(mine)}
        for number, heading in columns.items():
            summary = mean_of(mine[number].tolist())
            spread = "" if np.isnan(summary.deviation) else f" ± {summary.deviation:.4f}"
            row[heading] = f"{summary.mean:.4f}{spread}"
        rows.append(row)
    return pd.DataFrame(rows)


def differences_table(compared: Sequence[Compared]) -> pd.DataFrame:
    """Put paired differences into a table: a row for each pair of arms and number."""
    return pd.DataFrame(
        [
            {
                "number": comparison.number,
                "arms": f"{ALL[comparison.a].title} - {ALL[comparison.b].title}",
                "seeds": comparison.result.seeds,
                "difference": f"{comparison.result.difference:+.4f}",
                "95% interval": f"[{comparison.result.low:+.4f}, {comparison.result.high:+.4f}]",
                "p": f"{comparison.result.p:.3g}",
                "p (Holm)": f"{comparison.holm_p:.3g}",
            }
            for comparison in compared
        ]
    )


def tuning_table(tuning: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Put the hard AUC of every value that was tried into a table; the chosen one is bold."""
    rows = []
    for arm in [arm for arm in ALL if arm in set(tuning["arm"])]:
        mine = tuning[(tuning["arm"] == arm) & tuning["set"].isin(experiment.hard)]
        means = mine.groupby("value")["auc"].mean()
        try:
            chosen: Optional[float] = tuned_value(tuning, arm, ALL[arm].values, experiment.hard)
        except InputError:
            # Not all of its values are finished.
            chosen = None
        tried = [f"{'**' * (v == chosen)}{v:g}: {means[v]:.4f}{'**' * (v == chosen)}" for v in means.index]
        rows.append({"arm": ALL[arm].title, "flag": f"`--{ALL[arm].tuned}`", "hard AUC by value": ", ".join(tried)})
    return pd.DataFrame(rows)


def report(
    experiment: Experiment,
    table: pd.DataFrame,
    tuning: Optional[pd.DataFrame],
    plot: Path,
    output: Path,
    stored_seeds: Sequence[int],
) -> None:
    """Print the tables, draw the plot, and make the page of the evaluations that were kept.

    Args:
        experiment: what was compared.
        table: the results.
        tuning: those of the tuning, if there are any.
        plot: the file to draw.
        output: folder of the experiment.
        stored_seeds: the page is made of the first one.
    """
    by_run = numbers(table, experiment)
    arms = list(dict.fromkeys(by_run.index.get_level_values("arm")))
    values = table.dropna(subset=["value"]).groupby("arm")["value"].unique()
    tuned = {arm: ", ".join(f"{ALL[arm].tuned} {value:g}" for value in values[arm]) for arm in values.index}
    sets = [*experiment.hard, experiment.easy, *experiment.generic]
    print(f"## {experiment.name}\n\nhard: {', '.join(experiment.hard)}; easy: {experiment.easy}\n")
    print(markdown_table(means_table(by_run, MAIN, tuned)), end="\n\n")
    for measure in ("auc", TAR):
        print(f"{measure} of each set:\n")
        print(markdown_table(means_table(by_run, {f"{name} {measure}": name for name in sets}, tuned)), end="\n\n")
    against = [(ours, [(ours, arm) for arm in WITHOUT_DDL]) for ours in (OURS, DETACHED) if ours in arms]
    for first, others in (*against, (BASELINE, [(arm, BASELINE) for arm in arms])):
        pairs = [(a, b) for a, b in others if a != b]
        generic = [f"{name} {measure}" for name in (experiment.easy, *experiment.generic) for measure in ("auc", TAR)]
        columns = ["hard auc", f"hard {TAR}", *(["gap", *generic] if first == BASELINE else [])]
        compared = compare_all(by_run, pairs, columns)
        if compared:
            print(f"{ALL[first].title} and others, paired by seed:\n")
            print(markdown_table(differences_table(compared)), end="\n\n")
    if tuning is not None:
        print("Tuning:\n")
        print(markdown_table(tuning_table(tuning, experiment)), end="\n\n")
    for goal in [goal for ours in (OURS, DETACHED) if ours in arms for goal in goals(by_run, experiment, ours)]:
        met = "not known" if goal.met is None else "met" if goal.met else "NOT met"
        print(f"- {met}: {goal.text} ({goal.evidence})")
    plots.save(plots.results_figure(by_run, experiment.hard, experiment.easy), plot)
    print(f"\nplot: {plot}")
    _page(experiment, arms, output, stored_seeds)


def _page(experiment: Experiment, arms: Sequence[str], output: Path, stored_seeds: Sequence[int]) -> None:
    """Make the page of all arms of one seed, the baseline first; none if no seed is kept."""
    if not stored_seeds:
        return
    folders = {arm: output / "evaluations" / f"{arm}_{stored_seeds[0]}" for arm in arms}
    stored = [arm for arm in sorted(arms, key=lambda arm: arm != BASELINE) if any(folders[arm].glob("*/result.json"))]
    if not stored:
        return
    from ddl_tf.report import ReportSettings, main

    print(f"{experiment.name}: drawing the page", file=sys.stderr)
    main(
        ReportSettings(
            evaluations=[f"{ALL[arm].title}={folders[arm]}" for arm in stored],
            runs=[f"{ALL[arm].title}={output / 'run' / folders[arm].name}" for arm in stored if ALL[arm].trained],
            easy=experiment.easy,
            hard=experiment.hard[0],
            output=str(output / "report"),
            title=f"{experiment.name}: fine-tuning arms compared, seed {stored_seeds[0]}",
        )
    )
