"""The stages of an experiment: prepare, pretrain, tune, run, report. What is finished is not done again."""

import dataclasses
import datetime
import multiprocessing
import os
import platform
import subprocess
import sys
from collections.abc import Sequence
from concurrent import futures
from importlib import metadata
from pathlib import Path
from typing import Any, Optional

import numpy as np

from arms import worker
from arms.catalogue import ALL, chosen_arms
from arms.experiment import PRETRAININGS, Experiment, Job, make_job
from arms.made_sets import CELEBA, CFP, LFW
from arms.report import report
from arms.results import ResultsFile, result_rows, tuned_value
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.progress import Progress
from ddl_tf.common.settings import setting
from ddl_tf.training.setting_parts import HEAD_STARTS

ROOT = Path(__file__).resolve().parents[2]
STAGES = ("prepare", "pretrain", "tune", "run", "report")


@dataclasses.dataclass
class ArmsSettings:
    """Where the data is, and what to run."""

    celeba: Optional[str] = setting(None, "Folder of CelebA: train.rec, train.idx, train.csv; to prepare.")
    cfp: Optional[str] = setting(None, "Folder of CFP; to prepare.")
    lfw_bin: Optional[str] = setting(None, "LFW's verification file (.bin); to prepare.")
    output: Optional[str] = setting(
        None,
        "Folder for sets, checkpoints, stored evaluations and logs; default: runs/ and the name of the experiment.",
    )
    results: str = setting("docs/results", "Folder of the CSV files; finished runs are added to what is there.")
    images: str = setting("docs/images", "Folder of the plot.")
    pretrained: Optional[str] = setting(
        None, "Folder with pretrain_SEED (pretrain_augmented_SEED), runs of that recipe, to take where they are there."
    )
    stages: list[str] = setting(list(STAGES), f"What to do, of {', '.join(STAGES)}; in this order.")
    arms: list[str] = setting([], f"Which arms; default: all but the variants. Of {', '.join(ALL)}.")
    seeds: list[int] = setting([0, 1, 2, 3, 4], "Seeds of the test.")
    tune_seed: int = setting(5, "Seed of the tuning; none of the test's.")
    steps: int = setting(60, "Steps of each fine-tuning.")
    head_start: str = setting(
        "random", "As of ddl_tf.train, for all arms; class_means has results of its own.", choices=HEAD_STARTS
    )
    pretraining: str = setting(
        "plain",
        "What all arms start from, recipes/celeba_cfp_pretrain.cfg or ..._augmented.cfg, which goes on with augmented "
        "images and has results of its own.",
        choices=tuple(PRETRAININGS),
    )
    workers: int = setting(1, "Processes that run arms side by side; with several, each has one thread.")
    stored_seeds: list[int] = setting(
        [0], "Seeds of which embeddings and similarities are kept, of the first of which the report page is made."
    )

    def __post_init__(self) -> None:
        """Check what can be checked without the data.

        Raises:
            InputError: naming the setting and its value.
        """
        for stage in self.stages:
            if stage not in STAGES:
                raise InputError(f"--stages={','.join(self.stages)}: there is no {stage!r}; use {', '.join(STAGES)}")
        if self.tune_seed in self.seeds:
            raise InputError(f"--tune_seed={self.tune_seed} is one of --seeds; tune with another one")
        for name in ("steps", "workers"):
            if getattr(self, name) < 1:
                raise InputError(f"--{name} must be at least 1, got {getattr(self, name)}")


class Stages:
    """The stages of one experiment.

    Args:
        experiment: what to compare.
        settings: where, and how much of it.
    """

    def __init__(self, experiment: Experiment, settings: ArmsSettings) -> None:
        self._experiment, self._settings = experiment, settings
        self._output = Path(settings.output or f"runs/{experiment.name}").resolve()
        self._owner = self._output / "experiment.txt"
        self._check_owner()
        self._arms = chosen_arms(settings.arms)
        self._tuning = ResultsFile(
            Path(settings.results).resolve() / f"{experiment.tuned_as or experiment.name}_tuning.csv"
        )
        self._results = ResultsFile(Path(settings.results).resolve() / f"{experiment.name}.csv")

    def prepare(self) -> None:
        """Link the data, and make the sets."""
        with write_aside(self._owner) as aside:
            aside.write_text(f"{self._experiment.name}\n", encoding="utf-8")
        for name, given, place in (
            ("celeba", self._settings.celeba, CELEBA),
            ("cfp", self._settings.cfp, CFP),
            ("lfw_bin", self._settings.lfw_bin, LFW),
        ):
            self._link(name, given, self._output / place)
        for name, make in self._experiment.sets.items():
            if not (self._output / name).exists():
                _say(f"{self._experiment.name}: making {name}")
                make(self._output, self._output / name)

    def _check_owner(self) -> None:
        """Refuse another experiment's output folder: runs of the same arms and seeds would take the others' place."""
        owner = self._owner.read_text(encoding="utf-8").strip() if self._owner.exists() else self._experiment.name
        if owner != self._experiment.name:
            mine = self._experiment.name
            raise InputError(f"--output: {self._output} has the runs of {owner}, not of {mine}; give another one")

    def _link(self, name: str, given: Optional[str], link: Path) -> None:
        """Commands name the data by the link, so that they are the same wherever it is."""
        if given is None:
            if not link.exists():
                raise InputError(f"--{name} is missing; see --help")
            return
        target = Path(given).resolve()
        if not target.exists():
            raise InputError(f"--{name}={given}: there is nothing; check the path")
        if link.is_symlink() and link.resolve() != target:
            raise InputError(f"--{name}={given}: {self._output} was made of {link.resolve()}; give another --output")
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(target)

    def pretrain(self) -> None:
        """Train on CelebA, once for each seed."""
        stages = self._settings.stages
        seeds = [self._settings.tune_seed] if "tune" in stages else []
        seeds += self._settings.seeds if "run" in stages or not seeds else []
        for seed in seeds:
            folder = self._output / self._experiment.pretraining.run(seed)
            given = Path(self._settings.pretrained or "").resolve() / folder.name
            if not folder.exists() and self._settings.pretrained and (given / "results.json").exists():
                folder.parent.mkdir(parents=True, exist_ok=True)
                folder.symlink_to(given)
            if (folder / "results.json").exists():
                continue
            _say(f"{self._experiment.name}: pre-training seed {seed}; see {self._output}/logs/{folder.name}.log")
            flags = ["--train_data=celeba", f"--run_dir={folder.name}", f"--seed={seed}", f"--bin={LFW}"]
            recipe = ROOT / "recipes" / f"{self._experiment.pretraining.recipe}.cfg"
            command = [sys.executable, "-m", "ddl_tf.train", f"--flagfile={recipe}", *flags, "--evaluate_every=20"]
            log = self._output / "logs" / f"{folder.name}.log"
            log.parent.mkdir(exist_ok=True)
            with log.open("a") as printed:
                code = subprocess.run(command, cwd=self._output, stdout=printed, stderr=printed).returncode
            if code:
                raise InputError(f"the pre-training of seed {seed} ended with code {code}: see {log}")

    def tune(self) -> None:
        """Try each arm's values with the seed of the tuning, on folds that are not those of the test."""
        seed, steps = self._settings.tune_seed, self._settings.steps
        self._run(
            self._tuning,
            [
                make_job(self._experiment, "tune", arm, seed, value, steps)
                for arm in self._arms
                for value in ALL[arm].values
            ],
        )

    def run(self) -> None:
        """Run each arm with its tuned value, seed by seed."""
        values = {arm: self.value(arm) for arm in self._arms}
        # All arms of a seed, then the next seed: what is compared is complete early.
        self._run(
            self._results,
            [
                make_job(
                    self._experiment,
                    "run",
                    arm,
                    seed,
                    values[arm],
                    self._settings.steps,
                    seed in self._settings.stored_seeds,
                )
                for seed in self._settings.seeds
                for arm in self._arms
            ],
        )

    def value(self, arm: str) -> Optional[float]:
        """Read the tuned value of an arm; None where nothing is trained."""
        if not ALL[arm].trained:
            return None
        return tuned_value(self._tuning.table(), arm, ALL[arm].values, self._experiment.hard)

    def report(self) -> None:
        """Print the tables, and draw the plot and the report page."""
        tuning = self._tuning.table() if self._tuning.path.exists() else None
        plot = Path(self._settings.images) / f"results_{self._experiment.name}.png"
        report(self._experiment, self._results.table(), tuning, plot, self._output, self._settings.stored_seeds)

    def _run(self, file: ResultsFile, jobs: Sequence[Job]) -> None:
        """Run the jobs that are not in a file of results yet, side by side, and add their rows one by one."""
        waiting = file.unfinished(jobs)
        if not waiting:
            return
        for folder in sorted({self._experiment.pretraining.run(job.seed) for job in waiting}):
            if not (self._output / folder / "results.json").exists():
                raise InputError(f"{self._output / folder} is not there: run --stages=prepare,pretrain first")
        about, workers = _versions(), min(self._settings.workers, len(waiting))
        name = f"{self._experiment.name} {waiting[0].stage}"
        _say(f"{name}: {len(waiting)} runs to do of {len(jobs)}; they tell more in {self._output}/logs")
        left, running = iter(waiting), {}
        context = multiprocessing.get_context("spawn")
        begin = (str(self._output), workers > 1)
        with (
            Progress(name, len(jobs), len(jobs) - len(waiting), "run") as progress,
            futures.ProcessPoolExecutor(workers, context, worker.begin, begin) as pool,
        ):
            # No more than run at once: what was handed over cannot be taken back when this process is stopped.
            for job in _first(left, workers):
                running[pool.submit(worker.run_job, job)] = job
            while running:
                done, _ = futures.wait(running, return_when=futures.FIRST_COMPLETED)
                for future in done:
                    job = running.pop(future)
                    note = self._finish(file, job, future.result(), about)
                    progress.advance(note=note)
                    progress.write(f"{name}: {note}")
                    for following in _first(left, 1):
                        running[pool.submit(worker.run_job, following)] = following

    def _finish(self, file: ResultsFile, job: Job, finished: worker.Finished, about: dict[str, Any]) -> str:
        steps = self._settings.steps if ALL[job.arm].trained else 0
        date = datetime.datetime.now(datetime.timezone.utc).date().isoformat()
        about = {**about, "steps": steps, "seconds": round(finished.seconds, 1), "date": date}
        experiment = self._experiment
        file.append(result_rows(job, finished.results, experiment.easy, experiment.hard, about))
        worker.tidy(self._output, job)
        aucs = [result["auc"] for result in finished.results if result["set"] in experiment.hard]
        what = f"hard AUC {np.mean(aucs):.4f}" if aucs else "diverged"
        return f"{job.name}: {what}, {finished.seconds:.0f} s"


def _first(jobs: Any, count: int) -> list[Job]:
    return [job for _, job in zip(range(count), jobs)]


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _versions() -> dict[str, str]:
    """What a result depends on beside its command."""

    def git(*arguments: str) -> str:
        done = subprocess.run(["git", "-C", str(ROOT), *arguments], capture_output=True, text=True)
        return done.stdout.strip() if done.returncode == 0 else "unknown"

    changed = "+changes" if git("status", "--porcelain", "--", "ddl_tf", "benchmarks", "recipes") else ""
    tensorflow = next((metadata.version(p) for p in ("tensorflow", "tensorflow-cpu") if _installed(p)), "unknown")
    commit = git("rev-parse", "--short=12", "HEAD") + changed
    return {"commit": commit, "tensorflow": tensorflow, "python": platform.python_version()}


def _installed(package: str) -> bool:
    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def started_from(experiment: Experiment, head_start: str, pretraining: str) -> Experiment:
    """Let an experiment start from something else; what it finds has a name of its own then.

    Args:
        experiment: as its file has it.
        head_start: as of `ddl_tf.train`.
        pretraining: of `PRETRAININGS`.

    Returns:
        The experiment to run.
    """
    shared, suffix = dict(experiment.shared), ""
    if head_start != "random":
        shared, suffix = {**shared, "head_start": head_start}, f"_{head_start}"
    if pretraining != "plain":
        suffix += f"_{pretraining}"
    return dataclasses.replace(
        experiment,
        name=experiment.name + suffix,
        shared=shared,
        pretraining=PRETRAININGS[pretraining],
        tuned_as=experiment.tuned_as and experiment.tuned_as + suffix,
    )


def run_experiment(experiment: Experiment, settings: ArmsSettings) -> None:
    """Do the chosen stages of an experiment.

    Args:
        experiment: what to compare.
        settings: the flags.
    """
    # Workers inherit it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    stages = Stages(started_from(experiment, settings.head_start, settings.pretraining), settings)
    for stage in STAGES:
        if stage in settings.stages:
            getattr(stages, stage)()
