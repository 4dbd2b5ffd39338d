"""The CSV files of results: rows are added run by run, and what is in them is not run again."""

import contextlib
import fcntl
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import pandas as pd

from arms.experiment import Job
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside

MEASURES = ("accuracy", "auc", "eer", "tar@1e-2", "tar@1e-3", "mean_same", "mean_different", "expectation_margin")
COLUMNS = (
    *("arm", "seed", "set"),
    *MEASURES,
    *("gap", "value", "steps", "seconds", "date", "commit", "tensorflow", "python", "command"),
)


def result_rows(
    job: Job, results: Sequence[Mapping[str, Any]], easy: str, hard: Sequence[str], about: Mapping[str, Any]
) -> list[dict[str, Any]]:
    """Make the rows of a finished run, one for each verification set.

    Args:
        job: what was run.
        results: of the verification sets, as `evaluate_pairs` gives them; none if training diverged.
        easy: the set of easy pairs.
        hard: the sets of hard pairs, whose rows have a gap.
        about: further columns: steps, seconds, versions.

    Returns:
        The rows. A run that diverged has a single one, without a set.
    """
    same = {"arm": job.arm, "seed": job.seed, "value": job.value_text, "command": job.command, **about}
    margins = {result["set"]: result["expectation_margin"] for result in results}
    rows = []
    for result in results:
        flat = {**result, **{f"tar@{far}": rate for far, rate in result["tar"].items()}}
        row = {**same, "set": result["set"], **{name: _rounded(flat[name]) for name in MEASURES}}
        if result["set"] in hard:
            row["gap"] = _rounded(margins[easy] - result["expectation_margin"])
        rows.append(row)
    return rows or [same]


def _rounded(number: Optional[float]) -> Optional[float]:
    """A number of a table; none where a set has too few pairs for it."""
    return None if number is None else round(number, 7)


class ResultsFile:
    """Results on disk.

    Args:
        path: of the CSV file; it need not be there.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def text(self) -> pd.DataFrame:
        """Read the rows as text, so that they are written again as they were."""
        if not self.path.exists():
            return pd.DataFrame(columns=list(COLUMNS), dtype=str)
        table = pd.read_csv(self.path, dtype=str, keep_default_na=False)
        if list(table.columns) != list(COLUMNS):
            raise InputError(f"{self.path}: has other columns than {', '.join(COLUMNS)}; move it away")
        return table

    def table(self) -> pd.DataFrame:
        """Read the rows with their numbers.

        Raises:
            InputError: if there are none.
        """
        if self.text().empty:
            raise InputError(f"{self.path}: no results there yet")
        return pd.read_csv(self.path)

    def append(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Add the rows of a run: all or none of them, also if several processes add rows.

        Args:
            rows: column -> value; columns without a value stay empty.
        """
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with _locked(self.path.parent), write_aside(self.path) as aside:
            new = pd.DataFrame(rows, columns=list(COLUMNS))
            new.to_csv(aside, index=False)
            added = pd.read_csv(aside, dtype=str, keep_default_na=False)
            pd.concat([self.text(), added]).to_csv(aside, index=False)

    def unfinished(self, jobs: Sequence[Job]) -> list[Job]:
        """Choose the jobs that have no rows yet.

        Args:
            jobs: to choose from.

        Returns:
            Those to run.

        Raises:
            InputError: if there are rows of a job that was run by another command.
        """
        table = self.text()
        by_value = bool(jobs) and jobs[0].stage == "tune"
        values = table["value"] if by_value else [""] * len(table)
        commands = dict(zip(zip(table["arm"], table["seed"], values), table["command"]))
        others = [job for job in jobs if job.key in commands and commands[job.key] != job.command]
        if others:
            was, now = (set(text.split()) for text in (commands[others[0].key], others[0].command))
            raise InputError(
                f"{self.path}: {len(others)} runs in it are of other settings than now (of {others[0].arm}, seed "
                f"{others[0].seed}: {' '.join(sorted(was - now))} instead of {' '.join(sorted(now - was))}); remove "
                "their rows, or give another folder for --results"
            )
        return [job for job in jobs if job.key not in commands]


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Wait until no other process writes in a folder; the folder itself is locked, so that no file is left in it."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)


def tuned_value(table: pd.DataFrame, arm: str, values: Sequence[float], hard: Sequence[str]) -> float:
    """Choose the value with the highest AUC, averaged over the hard sets.

    Args:
        table: the rows of the tuning, as `ResultsFile.table`.
        arm: of which arm.
        values: those that were tried.
        hard: the sets of hard pairs.

    Returns:
        The value; the first one of equal ones.

    Raises:
        InputError: if a value is missing, or training diverged with each.
    """
    mine = table[table["arm"] == arm]
    missing = sorted(set(values) - set(mine["value"]))
    if missing:
        raise InputError(
            f"{arm} is not tuned: {', '.join(f'{value:g}' for value in missing)} missing; run --stages=tune"
        )
    means = mine[mine["set"].isin(hard)].groupby("value")["auc"].mean()
    measured = means.reindex(list(values)).dropna()
    if measured.empty:
        raise InputError(f"{arm}: training diverged with every value; choose others in benchmarks/arms/catalogue.py")
    return float(measured.idxmax())
