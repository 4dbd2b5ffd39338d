"""Which value of each arm is taken, and whether an arm is worth it."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.paired_tests import holm
from ddl_tf.metrics.seeds import SeedComparison, compare_seeds
from ddl_tf.tuning.arms import ARMS, MARGIN, START


def run_numbers(table: pd.DataFrame, easy: str, hard: Sequence[str], measure: str) -> pd.DataFrame:
    """Put the numbers of each run in one row.

    Args:
        table: of `Results.table`, of one stage.
        easy: the set of easy pairs.
        hard: the sets of hard pairs, which are averaged.
        measure: a column of the table.

    Returns:
        Columns `arm`, `value`, `seed`, `hard`, `easy`; both numbers are NaN where training diverged.

    Raises:
        InputError: if the measure cannot be measured on a set, which has too few pairs for it.
    """
    sets = table[table["set"].isin([easy, *hard])]
    missing = sorted(set(sets.loc[sets[measure].isna(), "set"]))
    if missing:
        raise InputError(f"--choose_by={measure} cannot be measured on {', '.join(missing)}, of too few pairs")
    rows = []
    for (arm, value, seed), run in table.groupby(["arm", "value", "seed"], sort=False, dropna=False):
        numbers = run.set_index("set")[measure]
        rows.append(
            {
                **{"arm": arm, "value": value, "seed": seed},
                "hard": float(numbers.reindex(list(hard)).mean(skipna=False)),
                "easy": float(numbers.get(easy, np.nan)),
            }
        )
    return pd.DataFrame(rows)


def choose_values(numbers: pd.DataFrame, easy_floor: float) -> dict[str, Optional[float]]:
    """Choose the value of each arm with the best hard number, of those whose easy number does not fall too far.

    Args:
        numbers: of `run_numbers`, one seed of each arm and value.
        easy_floor: how far the easy number may be below that of `START`.

    Returns:
        arm -> value, None for an arm that has none to choose. An arm all of whose values diverged or fell too far is
        not there, but for `MARGIN`, which others are compared with.
    """
    floor = float(numbers.loc[numbers["arm"] == START, "easy"].iloc[0]) - easy_floor
    chosen: dict[str, Optional[float]] = {}
    for arm, rows in numbers.groupby("arm", sort=False):
        good = rows[(rows["easy"] >= floor) | (rows["arm"].isin([START, MARGIN]))].dropna(subset=["hard"])
        if len(good):
            value = good.loc[good["hard"].idxmax(), "value"]
            chosen[str(arm)] = None if pd.isna(value) else float(value)
    return chosen


@dataclasses.dataclass(frozen=True)
class Comparison:
    """An arm against another over the same seeds: the hard and the easy number; `p` is Holm's, of the hard one.

    Where both differ by the same number for every seed there is nothing to test: interval and `p` are NaN.
    """

    arm: str
    other: str
    hard: SeedComparison
    easy: SeedComparison
    p: float

    @property
    def is_better(self) -> bool:
        """Whether the interval of the hard difference is above 0 and its corrected p below 0.05."""
        return self.hard.low > 0 and self.p < 0.05


def _compared(first: Sequence[float], second: Sequence[float]) -> SeedComparison:
    """Compare two arms, without interval and p if they differ by the same number for every seed."""
    try:
        return compare_seeds(first, second)
    except InputError:
        mean_a, mean_b = float(np.mean(first)), float(np.mean(second))
        return SeedComparison(len(first), mean_a, mean_b, mean_a - mean_b, *[math.nan] * 4)


def difference_text(numbers: SeedComparison) -> str:
    """A difference with its interval, if there is one, as text."""
    if math.isnan(numbers.low):
        return f"{numbers.difference:+.4f} (for every seed)"
    return f"{numbers.difference:+.4f} [{numbers.low:+.4f}, {numbers.high:+.4f}]"


def compare_arms(numbers: pd.DataFrame, other: str) -> list[Comparison]:
    """Compare every arm with another one, over the seeds that both have.

    Args:
        numbers: of `run_numbers`, several seeds of each arm.
        other: the arm that all others are compared with.

    Returns:
        The comparisons, in the order of `ARMS`; an arm without two seeds in common with the other is not there.
    """
    by_arm = {str(arm): rows.set_index("seed")[["hard", "easy"]].dropna() for arm, rows in numbers.groupby("arm")}
    made = []
    for arm in [name for name in ARMS if name in by_arm and name != other]:
        both = by_arm[arm].join(by_arm[other], how="inner", rsuffix=" of other")
        if len(both) > 1:
            hard, easy = (
                _compared(both[name].tolist(), both[f"{name} of other"].tolist()) for name in ("hard", "easy")
            )
            made.append((arm, hard, easy))
    tested = [arm for arm, hard, _ in made if not math.isnan(hard.p)]
    corrected = dict(zip(tested, holm([hard.p for arm, hard, _ in made if arm in tested])))
    return [Comparison(arm, other, hard, easy, corrected.get(arm, math.nan)) for arm, hard, easy in made]


def verdict(comparisons: Sequence[Comparison], measure: str) -> str:
    """Say in a sentence or two whether another loss or margin is worth it.

    Args:
        comparisons: of `compare_arms`, with `MARGIN`.
        measure: of the numbers.

    Returns:
        What is best, by how much, and whether this is more than chance.
    """
    added = [comparison for comparison in comparisons if comparison.arm not in (START, MARGIN)]
    if not added:
        return "Nothing was compared with the margin softmax alone."
    best = max(added, key=lambda comparison: comparison.hard.difference)
    title, tests = ARMS[best.arm].title, sum(not math.isnan(comparison.p) for comparison in comparisons)
    p = "not tested" if math.isnan(best.p) else f"p = {best.p:.2g} corrected for {tests} comparisons"
    numbers = (
        f"{title} against {ARMS[best.other].title}, {best.hard.seeds} seeds: {measure} of the hard pairs "
        f"{difference_text(best.hard)}, {p}; of the easy pairs {difference_text(best.easy)}."
    )
    if best.is_better:
        return f"{title} is worth it. {numbers}"
    return f"Nothing is shown to be worth it; the best is no more than chance could make it. {numbers}"
