"""What the results say: means over seeds, paired differences of arms, and whether the goals are met."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd
from scipy.stats import t

from arms.catalogue import ALL, ARMS
from arms.experiment import Experiment
from ddl_tf.common.errors import InputError
from ddl_tf.metrics.bootstrap import CONFIDENCE
from ddl_tf.metrics.paired_tests import holm
from ddl_tf.metrics.seeds import SeedComparison, compare_seeds

BASELINE, OURS, DETACHED = "arcface", "arcface_ddl", "arcface_ddl_detached"
# Arms with DDL are not what DDL is compared with.
WITHOUT_DDL = [arm for arm in ARMS if "ddl" not in arm]
TAR = "tar@1e-2"
# The flags of a run's command that differ from seed to seed.
OF_SEED = ("--seed", "--run_dir", "--init_checkpoint", "--model")


def numbers(table: pd.DataFrame, experiment: Experiment) -> pd.DataFrame:
    """Put the numbers of each run in one row.

    Args:
        table: the results, a row for each run and verification set.
        experiment: which sets are easy, hard and generic.

    Returns:
        A row for each run that has all sets, by `arm` (in the order of the catalogue) and `seed`: `hard auc`, `hard
        tar@1e-2`, `gap`, `hard margin`, means over the hard sets; the same of the easy set; `SET auc` and `SET
        tar@1e-2` of every set.

    Raises:
        InputError: if no run has all sets, a result is there twice, or runs that are averaged or compared differ in
            more than they should.
    """
    _check_alike(table[table["arm"].isin(list(ALL))])
    wanted = [*experiment.hard, experiment.easy, *experiment.generic]
    rows = []
    for (arm, seed), run in table.groupby(["arm", "seed"], sort=False):
        sets = run.set_index("set")
        if arm not in ALL or not set(wanted) <= set(sets.index):
            continue
        row: dict[str, object] = {"arm": arm, "seed": seed}
        hard, easy = sets.loc[list(experiment.hard)], sets.loc[experiment.easy]
        for measure in ("auc", TAR):
            row[f"hard {measure}"], row[f"easy {measure}"] = hard[measure].mean(), easy[measure]
            row.update({f"{name} {measure}": sets.loc[name, measure] for name in wanted})
        row["hard margin"], row["easy margin"] = hard["expectation_margin"].mean(), easy["expectation_margin"]
        row["gap"] = hard["gap"].mean()
        rows.append(row)
    if not rows:
        raise InputError(f"no run has results of all the sets {', '.join(wanted)}")
    order = {arm: number for number, arm in enumerate(ALL)}
    by_run = pd.DataFrame(rows)
    return by_run.sort_values(["arm", "seed"], key=lambda c: c.map(order) if c.name == "arm" else c).set_index(
        ["arm", "seed"]
    )


def _check_alike(table: pd.DataFrame) -> None:
    """Refuse rows whose means would say nothing: an arm must be the same for all its seeds, and all arms as long."""
    for arm, seed in table.loc[table.duplicated(["arm", "seed", "set"]), ["arm", "seed"]].to_numpy().tolist():
        raise InputError(f"{arm}, seed {seed}: its results are there twice; remove the rows of one run")
    for arm, rows in table.groupby("arm", sort=False):
        first, *others = (_flags(text) for text in rows["command"].unique())
        for other in others:
            if other != first:
                different = " ".join(sorted(first ^ other))
                raise InputError(f"{arm}: its seeds ran with other settings ({different}); remove the rows of some")
    steps = sorted(set(table.loc[table["steps"] > 0, "steps"]))
    if len(steps) > 1:
        raise InputError(f"arms of {' and '.join(map(str, steps))} steps cannot be compared; remove the rows of some")


def _flags(command: str) -> set[str]:
    """The flags of a command that do not follow from its seed."""
    return {text for text in command.split() if text.split("=")[0] not in OF_SEED}


class Mean(NamedTuple):
    """A number over seeds.

    Attributes:
        mean: over the seeds.
        deviation: the standard deviation over them; NaN for a single seed.
        half: half the width of the mean's interval of 95%, by Student's t; NaN for a single seed.
    """

    mean: float
    deviation: float
    half: float


def mean_of(values: Sequence[float]) -> Mean:
    """Compute the mean of a number over seeds, with its uncertainty."""
    values = np.asarray(values, np.float64)
    if len(values) < 2:
        return Mean(float(values.mean()), np.nan, np.nan)
    deviation = float(values.std(ddof=1))
    quantile = float(t.ppf((1 + CONFIDENCE) / 2, len(values) - 1))
    return Mean(float(values.mean()), deviation, quantile * deviation / np.sqrt(len(values)))


def difference(by_run: pd.DataFrame, a: str, b: str, number: str) -> Optional[SeedComparison]:
    """Compare one number of two arms over the seeds that both have.

    Args:
        by_run: of `numbers`.
        a: the first arm.
        b: the second arm.
        number: the column.

    Returns:
        The comparison; None with fewer than two common seeds, and where the difference is the same for each seed but
        not 0, so that it has no estimate of chance.
    """
    both = pd.concat([by_run.loc[a, number], by_run.loc[b, number]], axis=1, join="inner", keys=["a", "b"])
    apart = (both["a"] - both["b"]).to_numpy()
    if len(both) < 2 or (apart.any() and np.ptp(apart) <= 1e-9 * np.abs(apart).max()):
        return None
    return compare_seeds(both["a"].tolist(), both["b"].tolist())


class Compared(NamedTuple):
    """A difference of two arms.

    Attributes:
        number: which one.
        a: the first arm.
        b: the second arm.
        result: the comparison over seeds.
        holm_p: its p, corrected for all comparisons that were made together.
    """

    number: str
    a: str
    b: str
    result: SeedComparison
    holm_p: float


def compare_all(by_run: pd.DataFrame, pairs: Sequence[tuple[str, str]], columns: Sequence[str]) -> list[Compared]:
    """Compare arms, and correct the p-values for there being several comparisons.

    Args:
        by_run: of `numbers`.
        pairs: of arms; those without results are left out.
        columns: the numbers to compare.

    Returns:
        A comparison for each number and pair that can be compared.
    """
    present = set(by_run.index.get_level_values("arm"))
    made = [
        (number, a, b, result)
        for number in columns
        for a, b in pairs
        if {a, b} <= present and (result := difference(by_run, a, b, number)) is not None
    ]
    corrected = holm([result.p for *_, result in made])
    return [Compared(*comparison, p) for comparison, p in zip(made, corrected)]


@dataclasses.dataclass(frozen=True)
class Goal:
    """One thing that is to be shown.

    Attributes:
        text: what.
        met: whether it is; None if the results do not suffice to tell.
        evidence: the numbers.
    """

    text: str
    met: Optional[bool]
    evidence: str


def goals(by_run: pd.DataFrame, experiment: Experiment, ours: str = OURS) -> list[Goal]:
    """Check the goals of the comparison.

    Args:
        by_run: of `numbers`.
        experiment: which sets are easy, hard and generic.
        ours: the arm that is to reach them.

    Returns:
        It against every other arm on the hard sets; its gap; that the easy and generic sets do not fall.
    """
    present = list(dict.fromkeys(by_run.index.get_level_values("arm")))
    if ours not in present or BASELINE not in present:
        return [Goal("all", None, f"no results of {BASELINE} and {ours} yet")]
    checked = [_above_all(by_run, ours, f"hard {measure}") for measure in ("auc", TAR)]
    gap, base = (by_run.loc[arm, "gap"].mean() for arm in (ours, BASELINE))
    text = f"{ALL[ours].title}'s gap of expectation margins at most one third of {ALL[BASELINE].title}'s"
    share = gap / base if base else np.nan
    checked.append(Goal(text, bool(gap <= base / 3), f"{gap:.4f} against {base:.4f}: {share:.0%}"))
    checked += [
        _not_lower(by_run, ours, f"{name} {measure}")
        for name in (experiment.easy, *experiment.generic)
        for measure in ("auc", TAR)
    ]
    return checked


def _above_all(by_run: pd.DataFrame, ours: str, number: str) -> Goal:
    others = WITHOUT_DDL
    text = f"{ALL[ours].title} above every arm without DDL in {number}, the interval of 95% excluding 0"
    compared = {
        comparison.b: comparison.result for comparison in compare_all(by_run, [(ours, arm) for arm in others], [number])
    }
    not_above = [
        f"{ALL[arm].title} {result.difference:+.4f} [{result.low:+.4f}, {result.high:+.4f}]"
        for arm, result in compared.items()
        if result.low <= 0
    ]
    missing = [ALL[arm].title for arm in others if arm not in compared]
    evidence = f"above {len(compared) - len(not_above)} of {len(others)}"
    evidence += f"; not above {'; '.join(not_above)}" if not_above else ""
    evidence += f"; not compared with {', '.join(missing)}" if missing else ""
    return Goal(text, False if not_above else None if missing else True, evidence)


def _not_lower(by_run: pd.DataFrame, ours: str, number: str) -> Goal:
    text = f"{ALL[ours].title} not lower than {ALL[BASELINE].title} in {number} by more than the latter's seed noise"
    mine, base = (mean_of(by_run.loc[arm, number].tolist()) for arm in (ours, BASELINE))
    noise = f"its standard deviation over seeds {base.deviation:.4f}"
    met = None if np.isnan(base.deviation) else bool(mine.mean >= base.mean - base.deviation)
    return Goal(text, met, f"{mine.mean:.4f} against {base.mean:.4f}, {noise}")
