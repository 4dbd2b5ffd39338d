"""The folder of a run: which settings and versions made it, and whether a later command may go on with it."""

import contextlib
import dataclasses
import json
import math
import platform
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import lock_folder, remove_leftovers, require_regular_file, write_aside
from ddl_tf.common.provenance import package_versions
from ddl_tf.training.settings import TrainSettings

RECORDED_PACKAGES = ("ddl_tf", "tensorflow", "tensorflow-cpu", "keras", "tf_keras", "keras-cv", "numpy", "pandas")


def installed_versions() -> dict[str, str]:
    """List the versions that a result depends on: package or program -> version, of what is installed."""
    programs = {"python": platform.python_version(), "platform": platform.platform()}
    return {**programs, **package_versions(RECORDED_PACKAGES)}


@contextlib.contextmanager
def _reading(path: Path) -> Iterator[None]:
    require_regular_file(path)
    try:
        yield
    except ValueError as error:
        advice = "put a copy of it back, or begin anew in another --run_dir"
        raise InputError(f"{path} is damaged ({error}): {advice}") from None


def read_json(path: Path, kind: type) -> Any:
    """Read a JSON file of a run, that holds a `kind` (dict or list); InputError if it is damaged."""
    with _reading(path):
        content = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(content, kind):
            raise ValueError(f"it holds no {kind.__name__}")
    return content


def read_log(path: Path) -> pd.DataFrame:
    """Read `log.csv` of a run, a row for each epoch; InputError if it is damaged."""
    with _reading(path):
        log = pd.read_csv(path)
        if "epoch" not in log:
            raise ValueError("it has no column epoch")
    return log


class RunFolder:
    """The files of a run, in the folder `path`; `results` is there only when the run is complete."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.settings_file, self.log, self.results = path / "settings.json", path / "log.csv", path / "results.json"
        # Of best.keras and last.keras; of the state to resume from; of what was mined while training.
        self.checkpoints, self.resume, self.mined = path / "checkpoints", path / "resume", path / "mined"
        self.tensorboard = path / "tensorboard"

    @contextlib.contextmanager
    def open(self, settings: TrainSettings) -> Iterator[None]:
        """Begin a run, or go on with one that had the same settings; the folder is locked meanwhile.

        InputError if the folder holds a run with other settings, or something else, or another process has it.
        """
        if self.path.exists() and not self.settings_file.exists() and any(self.path.glob("[!.]*")):
            raise InputError(f"--run_dir={self.path} is not empty and holds no run: choose another folder")
        with lock_folder(self.path, ".lock"):
            for folder in (self.path, self.checkpoints, *self.mined.glob("*")):
                remove_leftovers(folder)
            self._begin(settings)
            yield

    def keep(self, settings: TrainSettings) -> None:
        """Write the settings again if they were removed while the run goes on: without them it is no run."""
        if not self.settings_file.exists():
            print(f"{self.path} was removed or emptied while the run goes on; it is written anew", file=sys.stderr)
            self._begin(settings)

    def _begin(self, settings: TrainSettings) -> None:
        settings_now = json.loads(json.dumps(dataclasses.asdict(settings)))
        if self.settings_file.exists():
            stored = read_json(self.settings_file, dict)
            keys = sorted({*stored, *settings_now})
            pairs = {key: (stored.get(key), settings_now.get(key)) for key in keys}
            changes = [f"--{key} was {before} and is {now}" for key, (before, now) in pairs.items() if before != now]
            # What was stopped before its first checkpoint, perhaps by a bad setting, has nothing to lose.
            if changes and self.resume.exists():
                raise InputError(
                    f"{self.path} holds a run with other settings ({', '.join(changes)}): choose another --run_dir, or "
                    "give the same command to resume it"
                )
            if not changes:
                return
        versions = {**installed_versions(), "command": sys.argv}
        for path, content in ((self.path / "versions.json", versions), (self.settings_file, settings_now)):
            with write_aside(path) as aside:
                aside.write_text(json.dumps(content, indent=2) + "\n")
        with write_aside(self.path / "flags.cfg") as aside:
            aside.write_text("".join(f"{line}\n" for line in _flag_lines(settings_now)))

    def best(self, measure: str) -> float:
        """Read the largest `measure` (as `--best_by`), averaged over the sets, off the log; -inf without one."""
        log = read_log(self.log) if self.log.exists() else pd.DataFrame()
        best = log[[column for column in log if str(column).endswith(f"/{measure}")]].mean(axis=1, skipna=False).max()
        return -math.inf if pd.isna(best) else float(best)


def _flag_lines(settings: dict[str, Any]) -> list[str]:
    """Settings as lines of a flagfile; what is not set has no line."""
    repeated = {field.name for field in dataclasses.fields(TrainSettings) if field.metadata["repeated"]}
    lines = []
    for key, value in settings.items():
        if isinstance(value, bool):
            lines.append(f"--{'' if value else 'no'}{key}")
        elif key in repeated:
            lines += [f"--{key}={item}" for item in value]
        elif value is not None:
            lines.append(f"--{key}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return lines
