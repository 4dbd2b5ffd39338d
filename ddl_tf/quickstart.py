"""See what DDL does, in minutes, on synthetic faces: `python -m ddl_tf.quickstart --flagfile=recipes/quickstart.cfg`.

Draws faces. For each of a few seeds it trains with ArcFace, and fine-tunes that checkpoint with ArcFace alone, and with
ArcFace and DDL, on the same rows. It compares the two on people whom neither has seen: a table of means and standard
deviations over the seeds, and a plot of the similarity distributions of the first seed.
"""

# TensorFlow is imported by the processes that train: those that draw faces start this module too, and sooner without.
import dataclasses
import sys
import time
from collections.abc import Sequence
from concurrent.futures import Executor, Future
from pathlib import Path
from typing import Any, Optional

import pandas as pd

from ddl_tf import evaluation, protocols, training
from ddl_tf.common import command
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.parallel import share_cores, spawned_processes, usable_cores
from ddl_tf.common.settings import setting
from ddl_tf.data.layout import read_description
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic

SETS = ("easy", "hard")
START, ARCFACE, DDL = "before fine-tuning", "ArcFace", "ArcFace + DDL"
# The arms, and the folder of each.
_RUNS = {START: "pretrain", ARCFACE: "arcface", DDL: "ddl"}


@dataclasses.dataclass
class QuickstartSettings:
    """The size of the experiment; see `recipes/quickstart.cfg`."""

    output: Optional[str] = setting("runs/quickstart", "Folder for the faces, the runs, the table and the plot.")
    seed: int = setting(0, "Seed of the faces, and the first seed of the training.")
    seeds: int = setting(3, "Number of seeds of the training.")
    processes: Optional[int] = setting(
        None, "Runs that are trained at once, each in a process; by default one for each core, and one alone on a GPU."
    )
    identities: int = setting(330, "Identities to train on.")
    images_per_identity: int = setting(10, "Images of each, half easy and half hard.")
    image_size: int = setting(32, "Side of the images in pixels.")
    backbone: str = setting("plain_small", "Name of the backbone.")
    pretrain_epochs: int = setting(7, "Epochs of margin training.")
    finetune_steps: int = setting(45, "Steps of each fine-tuning.")
    learning_rate: float = setting(0.1, "Learning rate of the margin training.")
    finetune_learning_rate: float = setting(0.05, "Learning rate of the fine-tuning.")
    ddl_weight: float = setting(10.0, "Weight of DDL beside the margin softmax.")

    def __post_init__(self) -> None:
        if not self.output:
            raise InputError("--output is missing: name the folder for the experiment")
        if self.seeds < 1:
            raise InputError(f"--seeds must be at least 1, got {self.seeds}")
        if self.processes is not None and self.processes < 1:
            raise InputError(f"--processes must be at least 1, got {self.processes}")

    @property
    def folder(self) -> Path:
        """The folder of the experiment."""
        return Path(self.output or "")

    def runs(self, seed: int) -> Path:
        """Name the folder of the runs of a seed."""
        return self.folder if seed == self.seed else self.folder / f"seed_{seed}"


def _draw_faces(settings: QuickstartSettings) -> None:
    """Draw the faces, unless they are there already; InputError if those are of other settings."""
    folder = settings.folder / "faces"
    wanted = {name: getattr(settings, name) for name in ("identities", "images_per_identity", "image_size", "seed")}
    if not all((folder / name).exists() for name in ("train", *SETS)):
        prepare_synthetic(SyntheticSettings(output=str(folder), **wanted))
        return
    made = read_description(folder / "train")["made_by"]["settings"]
    for name, value in wanted.items():
        if made.get(name) != value:
            raise InputError(
                f"the faces in {folder} were drawn with --{name}={made.get(name)}, not {value}: choose another --output"
            )


def _run_settings(settings: QuickstartSettings, arm: str, seed: int) -> training.TrainSettings:
    runs = settings.runs(seed)
    shared: dict[str, Any] = {
        "run_dir": str(runs / _RUNS[arm]),
        "train_data": [str(settings.folder / "faces/train")],
        "pairs": [str(settings.folder / "faces" / name) for name in SETS],
        "seed": seed,
        "backbone": settings.backbone,
        "embedding_size": 128,
        "image_size": settings.image_size,
        "margin": 0.3,
        "scale": 32.0,
        "evaluate_every": 1000,
    }
    if arm == START:
        return training.TrainSettings(
            shuffled_rows=128,
            epochs=settings.pretrain_epochs,
            learning_rate=settings.learning_rate,
            warmup_epochs=0.5,
            **shared,
        )
    if arm == DDL:
        # With a gradient of the teacher DDL may also make the easy pairs worse; see docs/results/index.md.
        shared.update(embedding_loss="ddl", embedding_weight=settings.ddl_weight, stop_teacher_gradient=True)
    # Both arms have the same rows, steps and rates; the pairs are classified too, so that ArcFace learns from them.
    return training.TrainSettings(
        init_checkpoint=str(runs / _RUNS[START]),
        rows_per_group=16,
        pairs_per_group=24,
        # A hard pair is a hard and an easy image of a person: hard faces are to come near to the easy ones.
        pairs_across=True,
        classify_pairs=True,
        epochs=1,
        steps_per_epoch=settings.finetune_steps,
        learning_rate=settings.finetune_learning_rate,
        **shared,
    )


def _train_arm(settings: QuickstartSettings, arm: str, seed: int) -> pd.DataFrame:
    """Train one arm of a seed; returns its row of the table."""
    import tensorflow as tf

    tf.keras.backend.clear_session()
    results = training.train(_run_settings(settings, arm, seed), tf.distribute.MirroredStrategy())
    return evaluation.plots.comparison_table({arm: results}, *SETS).assign(seed=seed)


def _draw_comparison(settings: QuickstartSettings) -> None:
    """Draw the similarities of the easy and the hard pairs by the last checkpoints of the first seed's arms."""

    def similarities(run: str) -> tuple[evaluation.Similarities, evaluation.Similarities]:
        model = evaluation.model.load_checkpoint_embedding(str(settings.folder / run / "checkpoints/last.keras"))
        pair_sets = [protocols.read_stored(str(settings.folder / "faces" / name)) for name in SETS]
        embeddings = [evaluation.embed_images(model, pair_set.images, pair_set.name) for pair_set in pair_sets]
        easy, hard = (
            evaluation.Similarities(name, evaluation.pair_similarities(pair_set, unit), pair_set.same)
            for name, pair_set, unit in zip(SETS, pair_sets, embeddings)
        )
        return easy, hard

    figure = evaluation.plots.comparison_figure({arm: similarities(_RUNS[arm]) for arm in (ARCFACE, DDL)})
    with write_aside(settings.folder / "comparison.png") as aside:
        figure.savefig(aside, dpi=110)


def _has_gpu() -> bool:
    import tensorflow as tf

    return bool(tf.config.list_physical_devices("GPU"))


def _train_seeds(settings: QuickstartSettings, seeds: Sequence[int], pool: Executor) -> pd.DataFrame:
    """Train all seeds, and draw the similarities of the first one's arms; returns a row for each arm of each seed."""
    starts = [pool.submit(_train_arm, settings, START, seed) for seed in seeds]
    runs: list[Future[pd.DataFrame]] = []
    for seed, start in zip(seeds, starts):
        # The fine-tunings begin with its checkpoint.
        start.result()
        runs += [start, *(pool.submit(_train_arm, settings, arm, seed) for arm in (ARCFACE, DDL))]
    rows = [run.result() for run in runs[: len(_RUNS)]]
    drawn = pool.submit(_draw_comparison, settings)
    rows += [run.result() for run in runs[len(_RUNS) :]]
    drawn.result()
    return pd.concat(rows, ignore_index=True)


def summary(table: pd.DataFrame) -> pd.DataFrame:
    """Average the numbers of the arms, and of what DDL adds, over the seeds: mean and standard deviation as text."""
    by_arm = {arm: rows.set_index("seed").drop(columns="arm") for arm, rows in table.groupby("arm", sort=False)}
    by_arm[f"{DDL} less {ARCFACE}"] = by_arm[DDL] - by_arm[ARCFACE]
    rows = []
    for arm, numbers in by_arm.items():
        spread = numbers.std() if len(numbers) > 1 else numbers.mean() * 0
        texts = {name: f"{numbers[name].mean():.3f} ± {spread[name]:.3f}" for name in numbers}
        rows.append({"arm": arm, **texts})
    return pd.DataFrame(rows)


def main(settings: QuickstartSettings) -> None:
    """Run the experiment."""
    began = time.monotonic()
    folder = settings.folder

    def say(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    seeds = range(settings.seed, settings.seed + settings.seeds)
    processes = settings.processes or usable_cores()
    with spawned_processes(processes, share_cores, processes) as pool:
        on_gpu = pool.submit(_has_gpu)
        say("drawing faces")
        _draw_faces(settings)
        say(f"{len(seeds)} seeds: training with ArcFace, fine-tuning with ArcFace, and with ArcFace and DDL")
        if settings.processes is None and on_gpu.result():
            with spawned_processes(1, share_cores, 1) as single:
                table = _train_seeds(settings, seeds, single)
        else:
            table = _train_seeds(settings, seeds, pool)
    with write_aside(folder / "comparison.csv") as aside:
        table.to_csv(aside, index=False)
    say("done")
    print(markdown_table(summary(table)))
    print(
        f"\nMean ± standard deviation over {settings.seeds} seeds; {folder / 'comparison.csv'} has every seed, and "
        f"{folder / 'comparison.png'} shows the similarity distributions of the first."
    )


if __name__ == "__main__":
    command.run(main, QuickstartSettings)
