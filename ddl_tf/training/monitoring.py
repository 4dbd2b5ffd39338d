"""What is watched while training: verification sets, similarity distributions, the log of the run, progress."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
import tensorflow as tf

from ddl_tf.common.files import write_arrays, write_aside
from ddl_tf.common.progress import Progress
from ddl_tf.evaluation import evaluate_pairs
from ddl_tf.losses import group_similarities
from ddl_tf.models import save_checkpoint
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.training.run_folder import read_log
from ddl_tf.training.workers import ChiefEmbedder, Workers


class Verification(tf.keras.callbacks.Callback):
    """Evaluate on verification sets every few epochs and after the last, and keep the best and the last checkpoint.

    Its results go into the epoch's logs, `SET/accuracy` and so on, NaN in epochs without an evaluation. The best
    checkpoint has the largest mean of the measure `best_by` over the sets; without sets every epoch's is the best. Of
    several workers the chief evaluates; the directory of the others is a throw-away place.
    """

    measures = ("accuracy", "auc", "eer", "expectation_margin")

    def __init__(
        self,
        sets: Sequence[PairSet],
        workers: Workers,
        directory: Path,
        every: int,
        epochs: int,
        best_by: str = "auc",
        best: float = -math.inf,
    ) -> None:
        super().__init__()
        self._sets, self._workers, self._directory = sets, workers, directory
        self._every, self._epochs = every, epochs
        self._best_by, self._best = best_by, best
        self.results: list[dict[str, Any]] = []

    def set_model(self, model: tf.keras.Model) -> None:
        """Take the model; its embedding part is traced once for all evaluations."""
        super().set_model(model)
        self._embedder = ChiefEmbedder(model, self._workers)

    def evaluate(self) -> None:
        """Evaluate the model as it stands: the `results` of each set, as `evaluate_pairs` gives them."""
        results = self._embedder.run(lambda model: [evaluate_pairs(model, pair_set) for pair_set in self._sets])
        self.results = results or []

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Evaluate, if it is time, and write the checkpoints."""
        logs = logs if logs is not None else {}
        due = (epoch + 1) % self._every == 0 or epoch + 1 == self._epochs
        for pair_set in self._sets:
            logs.update({f"{pair_set.name}/{measure}": math.nan for measure in self.measures})
        last = self._directory / "last.keras"
        # All workers: statistics are averaged over them when they are read.
        save_checkpoint(self.model, last)
        if not due:
            return
        if self._sets:
            self.evaluate()
        if not self._workers.is_chief:
            return
        for result in self.results:
            logs.update({f"{result['set']}/{measure}": result[measure] for measure in self.measures})
        score = float(np.mean([result[self._best_by] for result in self.results])) if self._sets else math.inf
        if score >= self._best:
            self._best = score
            with write_aside(self._directory / "best.keras") as aside:
                aside.write_bytes(last.read_bytes())


class SimilarityMonitor(tf.keras.callbacks.Callback):
    """Follow the similarity distributions of every group on the same rows: for TensorBoard, and the plot of the run."""

    def __init__(
        self, probe: tf.data.Dataset, workers: Workers, directory: Path, writer: tf.summary.SummaryWriter
    ) -> None:
        super().__init__()
        self._probe, self._workers, self._directory, self._writer = probe, workers, directory, writer

    def set_model(self, model: tf.keras.Model) -> None:
        """Take the model; its embedding part is traced once."""
        super().set_model(model)
        self._embedder = ChiefEmbedder(model, self._workers)

    def _measure(self, model: tf.keras.Model) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {}
        for inputs, targets in self._probe:
            rows = targets["embedding"]
            embeddings = model.predict_on_batch(inputs["image"])
            # Batch by batch, as the loss sees them. Outliers are part of the picture, so nothing is dropped.
            similarities = group_similarities(embeddings, rows[:, 0], rows[:, 1], positive_threshold=-2.0)
            for kind, groups in zip(("positive", "negative"), similarities):
                for group, values in enumerate(groups):
                    parts.setdefault(f"{kind}_{group}", []).append(values.numpy())
        return {key: np.concatenate(values) for key, values in parts.items()}

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Measure the similarities."""
        arrays = self._embedder.run(self._measure)
        if arrays is None:
            return
        with self._writer.as_default(step=epoch):
            for key, values in arrays.items():
                tf.summary.histogram(f"similarity/{key}", values)
        self._writer.flush()
        write_arrays(self._directory / "similarities.npz", arrays)


class RunLog(tf.keras.callbacks.Callback):
    """Write the results of every epoch to `log.csv`, atomically; rows of epochs before `first_epoch` are kept."""

    def __init__(self, path: Path, first_epoch: int) -> None:
        super().__init__()
        self._path = path
        self._rows: list[dict[str, Any]] = []
        if path.exists():
            log = read_log(path)
            self._rows = [{str(k): v for k, v in row.items()} for row in log.to_dict("records")][:first_epoch]

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Add the epoch."""
        values = {key: float(np.asarray(value)) for key, value in (logs or {}).items()}
        self._rows.append({"epoch": epoch + 1, "learning_rate": self._learning_rate(), **values})
        with write_aside(self._path) as aside:
            pd.DataFrame(self._rows).to_csv(aside, index=False)

    def _learning_rate(self) -> float:
        """Of the step that was just done: Keras keeps what the schedule gave."""
        return float(tf.keras.backend.get_value(self.model.optimizer.learning_rate))


class TrainingProgress(tf.keras.callbacks.Callback):
    """Show on stderr how far the run is, its speed, the time left and the losses."""

    def __init__(self, total_steps: int, first_step: int, rows: int) -> None:
        super().__init__()
        self._total_steps, self._step, self._rows = total_steps, first_step, rows

    def on_train_begin(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Begin where the run stands."""
        self._progress = Progress("train", self._total_steps * self._rows, self._step * self._rows)

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Count one step."""
        self._step += 1
        losses = {key: float(np.asarray(value)) for key, value in (logs or {}).items() if key.endswith("loss")}
        note = ", ".join(f"{key} {value:.3f}" for key, value in losses.items())
        self._progress.advance(self._rows, f"step {self._step} of {self._total_steps}, {note}")

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Leave the progress as it stands."""
        self._progress.close()
