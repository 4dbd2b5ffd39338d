"""An experiment: its sets are made, `ddl_tf.tune` compares ways of fine-tuning on them, and the results are told."""

import dataclasses
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import required, setting
from ddl_tf.tuning import TuneSettings, tune
from ddl_tf.tuning.arms import ARMS
from hard_faces.identification import identification
from hard_faces.made_sets import Maker, Places, all_pairs, celeba, cfp, distractors, with_students
from hard_faces.report import report

EASY = "sharp"
DISTRACTORS = "distractors"
# The same for all runs of all experiments.
SHARED: dict[str, Any] = {
    "backbone": "checkpoint",
    "image_size": 112,
    "head": "cosface",
    "head_start": "class_means",
    "margin": 0.35,
    "scale": 16.0,
    "optimizer": "adamw",
    "weight_decay": 0.0,
    "schedule": "constant",
    "epochs": 1,
    "pairs_per_group": 24,
    "rows_per_group": 0,
    "pairs_across": True,
    "classify_pairs": True,
    "choose_by": "tar@1e-3",
    # Nothing is forgotten: on sharp faces an arm must be as good as the start.
    "easy_floor": 0.0,
}


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A comparison on one variation of faces.

    Attributes:
        name: of the results, `NAME.csv` and `results_NAME.png`.
        students: the hard set of each group 1, 2, ... -> the degradation of its images; None: they are CFP's profiles.
        measured_only: hard sets that nothing is chosen by.
        network_rate: factor of the learning rate for the network, for all arms that set none of their own.
    """

    name: str
    students: Mapping[str, Optional[str]]
    measured_only: Sequence[str] = ()
    network_rate: float = 1.0

    @property
    def hard(self) -> list[str]:
        """The hard sets by which values are chosen."""
        return [name for name in self.students if name not in self.measured_only]

    @property
    def degradations(self) -> list[str]:
        """Those of the made students."""
        return [text for text in self.students.values() if text]


@dataclasses.dataclass
class Settings:
    """Where the data is, and how much to run."""

    start: Optional[str] = setting(None, "The network that is fine-tuned (.keras); required.")
    celeba: Optional[str] = setting(None, "Folder of CelebA: train.rec, train.idx, train.csv; required.")
    cfp: Optional[str] = setting(None, "Folder of CFP; required.")
    lfw_bin: Optional[str] = setting(None, "LFW's verification file (.bin), whose faces are distractors; required.")
    run_dir: Optional[str] = setting(None, "Folder for sets and runs; default: runs/ and the name of the experiment.")
    results: str = setting("docs/results", "Folder for the numbers of all runs, a CSV file.")
    images: str = setting("docs/images", "Folder for the figure.")
    arms: list[str] = setting([], f"Ways of fine-tuning, of {', '.join(ARMS)}; by default all.")
    seeds: int = setting(5, "Runs of each arm with its chosen value, each with another seed.")
    processes: int = setting(1, "Runs side by side, each in a process.")
    least_images: int = setting(10, "Images that a person of CelebA must have to be trained on.")
    train_folds: list[int] = setting([1, 2], "CFP's folds to train on.")
    choose_folds: list[int] = setting([3], "CFP's folds by which each arm's value is chosen.")
    test_folds: list[int] = setting([4, 5], "CFP's folds to compare on.")
    steps: int = setting(80, "Steps of each fine-tuning.")
    learning_rate: float = setting(3e-4, "Learning rate of each fine-tuning.")
    train_blocks: int = setting(2, "Blocks of the network, counted from the end, that train.")

    def __post_init__(self) -> None:
        """Check what can be checked without the data.

        Raises:
            InputError: naming the setting and its value.
        """
        folds = [*self.train_folds, *self.choose_folds, *self.test_folds]
        for name in ("train_folds", "choose_folds", "test_folds"):
            chosen = getattr(self, name)
            if not chosen or any(folds.count(fold) > 1 for fold in chosen):
                raise InputError(
                    f"--{name}={','.join(map(str, chosen))}: give folds of CFP that are in no other of --train_folds, "
                    "--choose_folds and --test_folds, each once"
                )
        if self.least_images < 2:
            raise InputError(
                f"--least_images must be at least 2, got {self.least_images}: people of one are distractors"
            )


def sets_of(experiment: Experiment, settings: Settings) -> dict[str, Maker]:
    """List the sets of an experiment: folder below `sets` -> what makes it, in the order of the making."""
    train = _folder("cfp", settings.train_folds)
    made = {"celeba": celeba(), train: cfp(*settings.train_folds)}
    celeba_students, *cfp_students = _train_names(experiment, settings)
    made[celeba_students] = with_students("celeba", experiment.degradations, settings.least_images)
    for name in cfp_students:
        made.setdefault(name, with_students(train, experiment.degradations))
    for folds in (settings.choose_folds, settings.test_folds):
        place = _folder("pairs", folds)
        made[f"{place}/{EASY}"] = all_pairs(folds)
        for name, degradation in experiment.students.items():
            made[f"{place}/{name}"] = all_pairs(folds, degradation, profiles=degradation is None)
    made[DISTRACTORS] = distractors()
    return made


def _folder(name: str, folds: Sequence[int]) -> str:
    return "_".join([name, *map(str, folds)])


def _train_names(experiment: Experiment, settings: Settings) -> list[str]:
    """The sets to train on. Profiles are in CFP's own set, as group 1."""
    train = _folder("cfp", settings.train_folds)
    return [
        f"celeba_students_{settings.least_images}",
        f"{train}_students" if experiment.degradations else train,
    ]


def _pair_sets(experiment: Experiment, root: Path, folds: Sequence[int]) -> list[str]:
    return [str(root / _folder("pairs", folds) / name) for name in (EASY, *experiment.students)]


def prepare(experiment: Experiment, settings: Settings, root: Path) -> None:
    """Make the sets that are not there yet.

    Args:
        experiment: whose sets.
        settings: where the data is.
        root: the folder of the sets.
    """
    places = Places(Path(str(settings.celeba)), Path(str(settings.cfp)), Path(str(settings.lfw_bin)), root)
    for name, make in sets_of(experiment, settings).items():
        if not (root / name).exists():
            print(f"{experiment.name}: making {root / name}", file=sys.stderr, flush=True)
            make(places, root / name)


def tune_settings(experiment: Experiment, settings: Settings, run_dir: Path) -> TuneSettings:
    """Put together the settings of the comparison.

    Args:
        experiment: what to compare on.
        settings: the flags.
        run_dir: the folder of the sets and runs.

    Returns:
        What `ddl_tf.tuning.tune` takes.
    """
    root = run_dir / "sets"
    return TuneSettings(
        run_dir=str(run_dir),
        init_checkpoint=settings.start,
        train_data=[str(root / name) for name in _train_names(experiment, settings)],
        pairs=_pair_sets(experiment, root, settings.choose_folds),
        test_pairs=_pair_sets(experiment, root, settings.test_folds),
        easy=EASY,
        hard=experiment.hard,
        feature_cache=str(run_dir / "features"),
        train_blocks=settings.train_blocks,
        steps_per_epoch=settings.steps,
        learning_rate=settings.learning_rate,
        network_rate=experiment.network_rate,
        arms=settings.arms,
        seeds=settings.seeds,
        processes=settings.processes,
        **SHARED,
    )


def run_experiment(experiment: Experiment, settings: Settings) -> None:
    """Do what of an experiment is not done yet, and tell its results.

    Args:
        experiment: what to compare on.
        settings: the flags.
    """
    required(settings, "start", "celeba", "cfp", "lfw_bin")
    # The processes of `tune` inherit it.
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
    run_dir = Path(settings.run_dir or f"runs/{experiment.name}")
    root = run_dir / "sets"
    prepare(experiment, settings, root)
    tuned = tune_settings(experiment, settings, run_dir)
    print(tune(tuned), end="\n\n")
    identification(run_dir, tuned.test_pairs, root / DISTRACTORS, settings.train_blocks)
    report(experiment.name, run_dir, [EASY, *experiment.students], experiment.hard, settings.results, settings.images)
