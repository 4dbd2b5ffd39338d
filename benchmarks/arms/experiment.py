"""What an experiment is, and the jobs that it comes to."""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

from arms.catalogue import ALL, command_line

# Makes a set: (output folder of the experiment, folder to make).
Maker = Callable[[Path, Path], None]

# The same for all arms of all experiments.
SHARED: dict[str, Any] = {
    "backbone": "plain_small",
    "embedding_size": 256,
    "image_size": 48,
    "scale": 32.0,
    "pairs_across": True,
    "classify_pairs": True,
    "epochs": 1,
    "learning_rate": 0.01,
    "schedule": "constant",
    "weight_decay": 5e-4,
}


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """How the checkpoints are made that all arms start from.

    Attributes:
        recipe: of the training on CelebA, in recipes/.
        folder: of the runs, without their seed.
        shared: fields of `TrainSettings` that all arms have because of it.
        margins: head -> the margin of the arms that do not tune it; those of the catalogue where it is empty.
    """

    recipe: str
    folder: str
    shared: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    margins: Mapping[str, float] = dataclasses.field(default_factory=dict)

    def run(self, seed: int) -> str:
        """Name the folder of a seed's run."""
        return f"{self.folder}_{seed}"


# By the value of --pretraining. A network that was trained on augmented images is fine-tuned on such, or it forgets.
PRETRAININGS = {
    "plain": Pretraining("celeba_cfp_pretrain", "pretrain"),
    "augmented": Pretraining(
        "celeba_cfp_pretrain_augmented",
        "pretrain_augmented",
        {"augment_crop": 0.4, "augment_colour": 0.4, "augment_occlusion": 0.3, "augment_probability": 0.5},
        # What tuning chose for the heads alone from class means: docs/results/pose_class_means_tuning.csv.
        {"arcface": 0.5, "cosface": 0.3},
    ),
}


@dataclasses.dataclass(frozen=True)
class Split:
    """What to train on, and what to judge on.

    Attributes:
        train_data: stored sets, as all paths relative to the output folder.
        evaluation: fields of `VerificationSets`.
    """

    train_data: Sequence[str]
    evaluation: Mapping[str, Any]


@dataclasses.dataclass(frozen=True)
class Experiment:
    """A comparison of all arms on one variation.

    Attributes:
        name: of the results: `NAME.csv`, `NAME_tuning.csv`, `results_NAME.png`.
        sets: folder -> how it is made, in the order of the making.
        shared: fields of `TrainSettings` that all arms have.
        easy: the verification set of easy pairs.
        hard: those of hard pairs; the numbers of the tables are their means.
        generic: those that must not fall.
        tuning: what each arm's value is chosen on.
        test: what the results are of.
        pretraining: what all arms start from.
        tuned_as: the experiment whose tuned values it takes; None: it is tuned itself.
    """

    name: str
    sets: Mapping[str, Maker]
    shared: Mapping[str, Any]
    easy: str
    hard: Sequence[str]
    generic: Sequence[str]
    tuning: Split
    test: Split
    pretraining: Pretraining = PRETRAININGS["plain"]
    tuned_as: Optional[str] = None


@dataclasses.dataclass(frozen=True)
class Job:
    """One arm of one seed.

    Attributes:
        stage: "tune" or "run".
        arm: its name in the catalogue.
        seed: of the checkpoint and of the fine-tuning.
        value: of the flag that is tuned; None where nothing is trained.
        settings: fields of `TrainSettings`, or of `PairsSettings` where nothing is trained.
        evaluation: fields of `VerificationSets`.
        store: folder to keep embeddings and similarities in; None keeps none.
    """

    stage: str
    arm: str
    seed: int
    value: Optional[float]
    settings: Mapping[str, Any]
    evaluation: Mapping[str, Any]
    store: Optional[str] = None

    @property
    def name(self) -> str:
        """Of its folder and its log."""
        return f"{self.arm}_{self.seed}" if self.stage == "run" else f"{self.arm}_{self.value_text}_{self.seed}"

    @property
    def folder(self) -> str:
        """Of the run."""
        return f"{self.stage}/{self.name}"

    @property
    def value_text(self) -> str:
        """The value as the results have it."""
        return "" if self.value is None else f"{self.value:g}"

    @property
    def key(self) -> tuple[str, str, str]:
        """What the results know it by; the arms of a test have one value each."""
        return self.arm, str(self.seed), self.value_text if self.stage == "tune" else ""

    @property
    def command(self) -> str:
        """The command that does the same, in the output folder."""
        return command_line("ddl_tf.train" if ALL[self.arm].trained else "ddl_tf.evaluate", self.settings)


def make_job(
    experiment: Experiment, stage: str, arm: str, seed: int, value: Optional[float], steps: int, store: bool = False
) -> Job:
    """Put together what one arm of one seed does.

    Args:
        experiment: the experiment.
        stage: "tune" or "run".
        arm: its name in the catalogue.
        seed: of the checkpoint and of the fine-tuning.
        value: of the flag that is tuned.
        steps: of the fine-tuning.
        store: whether to keep embeddings and similarities.

    Returns:
        The job.
    """
    split = experiment.tuning if stage == "tune" else experiment.test
    checkpoint = f"{experiment.pretraining.run(seed)}/checkpoints/last.keras"
    place = f"evaluations/{arm}_{seed}" if store else None
    evaluation = dict(split.evaluation)
    if not ALL[arm].trained:
        return Job(stage, arm, seed, None, {"model": checkpoint, **evaluation, "replicates": 0}, evaluation, place)
    tuned = {str(ALL[arm].tuned): value}
    job = Job(stage, arm, seed, value, {}, evaluation, place)
    head, margins = ALL[arm].flags["head"], experiment.pretraining.margins
    settings = {
        "run_dir": job.folder,
        "init_checkpoint": checkpoint,
        "train_data": list(split.train_data),
        "seed": seed,
        **experiment.shared,
        **experiment.pretraining.shared,
        **ALL[arm].flags,
        **({"margin": margins[head]} if head in margins else {}),
        **tuned,
        "steps_per_epoch": steps,
        **evaluation,
    }
    return dataclasses.replace(job, settings=settings)
