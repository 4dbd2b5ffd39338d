"""See what DDL does, in minutes, on synthetic faces: `python -m ddl_tf.quickstart --flagfile=recipes/quickstart.cfg`.

Draws faces; trains with ArcFace; fine-tunes that checkpoint with ArcFace alone, and with ArcFace and DDL, on the same
rows; and compares the two on people whom neither has seen: a table, and a plot of the similarity distributions.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
import sys
import time
from pathlib import Path
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import setting
from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import load_checkpoint_embedding
from ddl_tf.evaluation.pairs import pair_similarities, verify
from ddl_tf.evaluation.plots import Similarities, comparison_figure, comparison_table
from ddl_tf.protocols.pair_sets import read_stored
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic
from ddl_tf.training import TrainSettings, train

SETS = ("easy", "hard")


@dataclasses.dataclass
class QuickstartSettings:
    """The size of the experiment; see `recipes/quickstart.cfg`."""

    output: Optional[str] = setting("runs/quickstart", "Folder for the faces, the three runs, the table and the plot.")
    seed: int = setting(0, "Seed of the faces and of the training.")
    identities: int = setting(400, "Identities to train on.")
    images_per_identity: int = setting(20, "Images of each, half easy and half hard.")
    image_size: int = setting(48, "Side of the images in pixels.")
    backbone: str = setting("plain_small", "Name of the backbone.")
    pretrain_epochs: int = setting(8, "Epochs of margin training.")
    finetune_steps: int = setting(300, "Steps of each fine-tuning.")
    learning_rate: float = setting(0.1, "Learning rate of the margin training.")
    finetune_learning_rate: float = setting(0.05, "Learning rate of the fine-tuning.")
    ddl_weight: float = setting(10.0, "Weight of DDL beside the margin softmax.")


def _train_settings(settings: QuickstartSettings, output: Path, **changes: Any) -> TrainSettings:
    """What the three runs share."""
    return TrainSettings(
        train_data=[str(output / "faces" / "train")],
        pairs=[str(output / "faces" / name) for name in SETS],
        seed=settings.seed,
        backbone=settings.backbone,
        embedding_size=128,
        image_size=settings.image_size,
        margin=0.3,
        scale=32.0,
        evaluate_every=1000,
        **changes,
    )


def _evaluate(run: str, output: Path) -> tuple[list[dict[str, Any]], tuple[Similarities, Similarities]]:
    """The results and the similarities of a run's last checkpoint on the easy and the hard pairs."""
    model = load_checkpoint_embedding(f"{run}/checkpoints/last.keras")
    results, similarities = [], []
    for name in SETS:
        pair_set = read_stored(str(output / "faces" / name))
        embeddings = embed_images(model, pair_set.images, name)
        results.append(verify(pair_set, embeddings))
        similarities.append(Similarities(name, pair_similarities(pair_set, embeddings), pair_set.same))
    return results, (similarities[0], similarities[1])


def main(settings: QuickstartSettings) -> None:
    """Run the experiment.

    Args:
        settings: the flags.
    """
    if not settings.output:
        raise InputError("--output is missing: name the folder for the experiment")
    began = time.monotonic()
    output = Path(settings.output)

    def tell(text: str) -> None:
        print(f"[{time.monotonic() - began:4.0f} s] {text}", file=sys.stderr, flush=True)

    if not all((output / "faces" / name).exists() for name in ("train", *SETS)):
        tell("drawing faces")
        prepare_synthetic(
            SyntheticSettings(
                output=str(output / "faces"),
                identities=settings.identities,
                images_per_identity=settings.images_per_identity,
                image_size=settings.image_size,
                seed=settings.seed,
            )
        )
    strategy = tf.distribute.MirroredStrategy()
    pretrained = str(output / "pretrain")
    tell("margin training with ArcFace")
    train(
        _train_settings(
            settings,
            output,
            run_dir=pretrained,
            shuffled_rows=128,
            epochs=settings.pretrain_epochs,
            learning_rate=settings.learning_rate,
            warmup_epochs=0.5,
        ),
        strategy,
    )
    # Both have the same rows, steps and rates; the pairs are classified too, so that ArcFace learns from them as well.
    shared: dict[str, Any] = {
        "init_checkpoint": pretrained,
        "rows_per_group": 32,
        "pairs_per_group": 32,
        # A hard pair is a hard and an easy image of a person: hard faces are to come near to the easy ones.
        "pairs_across": True,
        "classify_pairs": True,
        "epochs": 1,
        "steps_per_epoch": settings.finetune_steps,
        "learning_rate": settings.finetune_learning_rate,
        "schedule": "cosine",
    }
    arms: dict[str, dict[str, Any]] = {
        "ArcFace": {"run_dir": str(output / "arcface")},
        "ArcFace + DDL": {
            "run_dir": str(output / "ddl"),
            "embedding_loss": "ddl",
            "embedding_weight": settings.ddl_weight,
            # Else DDL may also make the easy pairs worse; see docs/results/index.md.
            "stop_teacher_gradient": True,
        },
    }
    evaluated = {"before fine-tuning": _evaluate(pretrained, output)}
    for arm, changes in arms.items():
        tf.keras.backend.clear_session()
        tell(f"fine-tuning with {arm}")
        train(_train_settings(settings, output, **shared, **changes), strategy)
        evaluated[arm] = _evaluate(changes["run_dir"], output)

    table = comparison_table({arm: results for arm, (results, _) in evaluated.items()}, *SETS)
    with write_aside(output / "comparison.csv") as aside:
        table.to_csv(aside, index=False)
    with write_aside(output / "comparison.png") as aside:
        comparison_figure({arm: evaluated[arm][1] for arm in arms}).savefig(aside, dpi=110)
    tell("done")
    print(markdown_table(table))
    print(
        f"\n{output / 'comparison.png'} shows the similarity distributions; {output / 'comparison.csv'} has the table."
    )


if __name__ == "__main__":
    command.run(main, QuickstartSettings)
