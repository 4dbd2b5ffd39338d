"""The folder of a run: which settings and versions made it, and whether a later command may go on with it."""

import dataclasses
import json
import platform
import sys
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

import pandas as pd

from ddl_tf.errors import InputError
from ddl_tf.files import write_aside
from ddl_tf.training.settings import TrainSettings

RECORDED_PACKAGES = ("ddl_tf", "tensorflow", "tensorflow-cpu", "keras", "keras-cv", "numpy", "pandas")


def installed_versions() -> dict[str, str]:
    """List the versions that a result depends on.

    Returns:
        Package or program -> version; packages that are not installed are left out.
    """
    versions = {"python": platform.python_version(), "platform": platform.platform()}
    for package in RECORDED_PACKAGES:
        try:
            versions[package] = metadata.version(package)
        except metadata.PackageNotFoundError:
            continue
    return versions


@dataclasses.dataclass(frozen=True)
class RunFolder:
    """The files of a run.

    Attributes:
        path: the folder.
    """

    path: Path

    @property
    def settings_file(self) -> Path:
        """The settings, as JSON."""
        return self.path / "settings.json"

    @property
    def log(self) -> Path:
        """The results of every epoch, as CSV."""
        return self.path / "log.csv"

    @property
    def results(self) -> Path:
        """The results on the verification sets at the end; there only when the run is complete."""
        return self.path / "results.json"

    @property
    def checkpoints(self) -> Path:
        """The folder of `best.keras` and `last.keras`."""
        return self.path / "checkpoints"

    @property
    def resume(self) -> Path:
        """The folder of the state to resume from."""
        return self.path / "resume"

    @property
    def tensorboard(self) -> Path:
        """The folder for TensorBoard."""
        return self.path / "tensorboard"

    def open(self, settings: TrainSettings) -> None:
        """Begin a run, or go on with one that had the same settings.

        Args:
            settings: of the run.

        Raises:
            InputError: if the folder holds a run with other settings, or something else.
        """
        wanted = json.loads(json.dumps(dataclasses.asdict(settings)))
        if self.settings_file.exists():
            found = json.loads(self.settings_file.read_text())
            different = sorted(key for key in {*found, *wanted} if found.get(key) != wanted.get(key))
            if different:
                changes = ", ".join(f"--{key} was {found.get(key)} and is {wanted.get(key)}" for key in different)
                raise InputError(
                    f"{self.path} holds a run with other settings ({changes}): choose another --run_dir, or give the "
                    "same command to resume it"
                )
            return
        if self.path.exists() and any(self.path.iterdir()):
            raise InputError(f"--run_dir={self.path} is not empty and holds no run: choose another folder")
        for path, content in (
            (self.path / "versions.json", {**installed_versions(), "command": sys.argv}),
            (self.settings_file, wanted),
        ):
            with write_aside(path) as aside:
                aside.write_text(json.dumps(content, indent=2) + "\n")
        with write_aside(self.path / "flags.cfg") as aside:
            aside.write_text("".join(f"{line}\n" for line in _flag_lines(wanted)))

    def best(self, measure: str) -> Optional[float]:
        """Read the best result so far off the log.

        Args:
            measure: as `--best_by`.

        Returns:
            The largest value of the measure, averaged over the sets; None if there is none yet.
        """
        if not self.log.exists():
            return None
        log = pd.read_csv(self.log)
        columns = [column for column in log if str(column).endswith(f"/{measure}")]
        if not columns:
            return None
        best = log[columns].mean(axis=1, skipna=False).max()
        return None if pd.isna(best) else float(best)


def _flag_lines(settings: dict[str, Any]) -> list[str]:
    """Settings as lines of a flagfile; what is not set has no line."""
    lines = []
    for key, value in settings.items():
        if value is None:
            continue
        if isinstance(value, bool):
            lines.append(f"--{'' if value else 'no'}{key}")
        else:
            lines.append(f"--{key}={','.join(map(str, value)) if isinstance(value, list) else value}")
    return lines
