"""The runs of a comparison: which there are, and their results on disk, so that none is done twice."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Sequence
from concurrent import futures
from pathlib import Path
from typing import Any, Optional

import pandas as pd
import tensorflow as tf

from ddl_tf.common.errors import InputError, NotFiniteError
from ddl_tf.common.files import write_aside
from ddl_tf.common.parallel import share_cores, spawned_processes
from ddl_tf.common.progress import Progress
from ddl_tf.training import TrainSettings, train

RESULTS = "results.csv"
NUMBERS = ("auc", "accuracy", "eer", "expectation_margin")


@dataclasses.dataclass(frozen=True)
class Run:
    """One training of an arm; `value` is of the field that the arm tunes, None where it tunes none.

    `stage` is "choose" or "compare".
    """

    stage: str
    arm: str
    value: Optional[float]
    settings: TrainSettings

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What the results know it by."""
        value = "" if self.value is None else f"{self.value:g}"
        return self.stage, self.arm, value, str(self.settings.seed)

    @property
    def name(self) -> str:
        """Of its folder, and in messages."""
        return "_".join(part for part in self.key[1:] if part)


class Results:
    """The results of runs in a CSV file: a row for each run and verification set, as text what is looked up by."""

    def __init__(self, folder: Path) -> None:
        self.path = folder / RESULTS

    def table(self) -> pd.DataFrame:
        """Read the rows; `value` is NaN and `set` is empty where there is none."""
        if not self.path.exists():
            return pd.DataFrame(columns=["stage", "arm", "value", "seed", "set", "flags"])
        return pd.read_csv(self.path, dtype={"flags": str, "set": str}, keep_default_na=True)

    def unfinished(self, runs: Sequence[Run]) -> list[Run]:
        """Those without results yet; InputError if results are of other settings than the run has now."""
        table = self.table()
        known = {}
        for stage, arm, value, seed, flags in table[["stage", "arm", "value", "seed", "flags"]].itertuples(index=False):
            known[stage, arm, "" if pd.isna(value) else f"{value:g}", str(seed)] = flags
        for run in runs:
            if known.get(run.key, _flags(run)) != _flags(run):
                was, now = (set(json.loads(text).items()) for text in (known[run.key], _flags(run)))
                changed = ", ".join(sorted({name for name, _ in was ^ now}))
                raise InputError(
                    f"{self.path}: the results of {run.name} are of other settings than now ({changed}); give another "
                    "--run_dir"
                )
        return [run for run in runs if run.key not in known]

    def add(self, run: Run, results: Sequence[dict[str, Any]]) -> None:
        """Add the rows of a run; one without a set if training diverged."""
        stage, arm, value, seed = run.key
        same = {"stage": stage, "arm": arm, "value": value, "seed": seed}
        rows: list[dict[str, Any]] = []
        for result in results:
            tars = {f"tar@{far}": rate for far, rate in result["tar"].items()}
            rows.append({**same, "set": result["set"], **{name: result[name] for name in NUMBERS}, **tars})
        rows = [{**row, "flags": _flags(run)} for row in rows or [same]]
        with write_aside(self.path) as aside:
            pd.concat([self.table(), pd.DataFrame(rows)]).to_csv(aside, index=False)


def _flags(run: Run) -> str:
    """The settings that a run's results follow from, as text."""
    settings = {name: value for name, value in dataclasses.asdict(run.settings).items() if name != "run_dir"}
    return json.dumps({name: str(value) for name, value in settings.items()}, sort_keys=True)


def train_run(run: Run) -> list[dict[str, Any]]:
    """Train and evaluate; the results on the verification sets, none if training diverged."""
    tf.keras.backend.clear_session()
    log = Path(str(run.settings.run_dir) + ".log")
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a", buffering=1) as file, contextlib.redirect_stderr(file):
        try:
            return train(run.settings)
        except NotFiniteError as error:
            print(error, file=sys.stderr)
            return []


def do_runs(results: Results, runs: Sequence[Run], processes: int) -> None:
    """Do the runs that have no results yet, several side by side, and add their results one by one."""
    waiting = results.unfinished(runs)
    if not waiting:
        return
    logs = results.path.parent / waiting[0].stage
    text = f"{len(waiting)} of {len(runs)} runs to {waiting[0].stage} are to do, {processes} side by side"
    print(f"{text}; {logs}/*.log say how each goes on", file=sys.stderr, flush=True)
    left = iter(waiting)
    running: dict[futures.Future[list[dict[str, Any]]], Run] = {}

    def submit(count: int) -> None:
        # No more than run at once: what was handed over cannot be taken back when this process is stopped.
        running.update((pool.submit(train_run, run), run) for _, run in zip(range(count), left))

    name = f"runs to {waiting[0].stage}"
    progress = Progress(name, len(runs), len(runs) - len(waiting), "run")
    with progress, spawned_processes(processes, share_cores, processes) as pool:
        submit(processes)
        while running:
            done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
            for future in done:
                run = running.pop(future)
                results.add(run, future.result())
                progress.advance(note=run.name)
                submit(1)
