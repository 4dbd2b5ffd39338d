"""How strongly each term pulls: gradients of the margin softmax and of DDL on the embeddings of a run's batches.

    python benchmarks/gradients.py --run=runs/pose/run/arcface_ddl_0

builds the batches of a finished run anew, looks at them with the network that it started from and with its last
checkpoint, and prints the table of docs/results/small_networks.md.
"""

from ddl_tf.common import command  # isort: skip  (before anything that may import TensorFlow)

import dataclasses
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
import tensorflow as tf

from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.settings import required, setting
from ddl_tf.data.augmentation import build_augmentation
from ddl_tf.data.pipeline import training_dataset
from ddl_tf.data.sampling import StreamSampler
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.model import find_checkpoint
from ddl_tf.losses import DDLLoss, MarginSoftmaxLoss
from ddl_tf.models import initialise_from
from ddl_tf.training import TrainSettings
from ddl_tf.training.run import recognizer_of
from ddl_tf.training.run_folder import read_json

# The paper's weights, of one term each.
TERMS = {"positive": {"positive_weight": 0.1}, "negative": {"negative_weight": 0.02}, "order": {"order_weight": 0.5}}


@dataclasses.dataclass
class Settings:
    """Which run, and how much of it."""

    run: Optional[str] = setting(None, "Folder of a finished run; required. Its paths are relative to --root.")
    root: str = setting(".", "Folder that the run was started in.")
    batches: int = setting(10, "Batches to look at, the first of the run.")


def _losses(settings: TrainSettings) -> dict[str, DDLLoss]:
    """DDL's terms one by one, and all of them, at the paper's weights."""
    none = dict.fromkeys(("positive_weight", "negative_weight", "order_weight"), 0.0)
    shape: dict[str, Any] = {"stop_teacher_gradient": settings.stop_teacher_gradient}
    losses = {f"DDL, {name}": DDLLoss(**{**none, **weights}, **shape) for name, weights in TERMS.items()}
    return {**losses, "DDL": DDLLoss(**shape)}


def measure(model: tf.keras.Model, settings: TrainSettings, batches: tf.data.Dataset, name: str) -> dict[str, Any]:
    """Measure the mean norm of each term's gradient on the embeddings of a batch.

    Args:
        model: the recognizer.
        settings: of the run.
        batches: of it.
        name: of the row.

    Returns:
        A row of the table.
    """
    body = tf.keras.Model(model.input["image"], model.output["embedding"])
    head = model.get_layer("head")
    softmax, terms = MarginSoftmaxLoss(), _losses(settings)
    norms_by_term: dict[str, list[float]] = {}
    for inputs, targets in batches:
        embedding = body(inputs["image"], training=True)
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(embedding)
            values = {"margin softmax": softmax(targets["logits"], head(embedding, inputs["label"]))}
            values.update({term: loss(targets["embedding"], embedding) for term, loss in terms.items()})
        # By unit embeddings: what turns them is the gradient times their length.
        length = tf.norm(embedding, axis=1, keepdims=True)
        for term, value in values.items():
            norms_by_term.setdefault(term, []).append(float(tf.norm(tape.gradient(value, embedding) * length)))
    row: dict[str, Any] = {"network": name, **{term: float(np.mean(norms)) for term, norms in norms_by_term.items()}}
    return {**row, "softmax / DDL": row["margin softmax"] / row["DDL"]}


def main(settings: Settings) -> None:
    """Print the table.

    Args:
        settings: the flags.
    """
    required(settings, "run")
    run = Path(str(settings.run))
    root = Path(settings.root)
    fields = {field.name for field in dataclasses.fields(TrainSettings)}
    of_run = read_json(run / "settings.json", dict)
    train = TrainSettings(**{name: value for name, value in of_run.items() if name in fields})
    faces = Faces([str(root / path) for path in train.train_data])
    sampler = StreamSampler(faces.index, train.stream_sizes(), train.seed)
    size = (train.image_size, train.image_size)
    batches = training_dataset(faces, sampler, build_augmentation(train), size, 0, settings.batches, train.seed)
    rows = []
    for name, checkpoint in (
        ("start", find_checkpoint(str(root / str(train.init_checkpoint)))),
        ("end", run / "checkpoints" / "last.keras"),
    ):
        tf.keras.utils.set_random_seed(train.seed)
        model = recognizer_of(train, faces.num_identities)
        initialise_from(model, checkpoint)
        rows.append(measure(model, train, batches, name))
    print(markdown_table(pd.DataFrame(rows)))


if __name__ == "__main__":
    command.run(main, Settings)
