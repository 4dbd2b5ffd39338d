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
from ddl_tf.evaluation import evaluate_pairs, verify
from ddl_tf.finetuning import FeatureCache
from ddl_tf.losses import group_similarities
from ddl_tf.models import save_checkpoint
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.training.run_folder import read_log
from ddl_tf.training.setting_parts import CheckpointSettings
from ddl_tf.training.workers import ChiefEmbedder


class Verification(tf.keras.callbacks.Callback):
    """Evaluate on verification sets every few epochs and after the last, and keep the best and the last checkpoint.

    Its results go into the epoch's logs, `SET/accuracy` and so on, NaN in epochs without an evaluation. The best
    checkpoint has the largest mean of the measure `--best_by` over the sets (`best` so far); without sets every epoch's
    is the best. Of several workers the chief evaluates; the directory of the others is a throw-away place. With a cache
    the embeddings are made from its activations.
    """

    measures = ("accuracy", "auc", "eer", "expectation_margin")

    def __init__(
        self,
        sets: Sequence[PairSet],
        embedder: ChiefEmbedder,
        directory: Path,
        settings: CheckpointSettings,
        epochs: int,
        best: float,
        cache: Optional[FeatureCache] = None,
    ) -> None:
        super().__init__()
        self._sets, self.embedder, self._directory = sets, embedder, directory
        self._settings, self._epochs, self._best, self._cache = settings, epochs, best, cache
        self.results: list[dict[str, Any]] = []

    def evaluate(self) -> None:
        """Evaluate the model as it stands: the `results` of each set, as `evaluate_pairs` gives them."""
        results = self.embedder.run(lambda model: [self._results(model, pair_set) for pair_set in self._sets])
        self.results = results or []

    def _results(self, model: tf.keras.Model, pair_set: PairSet) -> dict[str, Any]:
        if self._cache:
            return verify(pair_set, self._cache.embed(pair_set.images, pair_set.name))
        return evaluate_pairs(model, pair_set)

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Evaluate, if it is time, and write the checkpoints."""
        logs = logs if logs is not None else {}
        due = (epoch + 1) % self._settings.evaluate_every == 0 or epoch + 1 == self._epochs
        for pair_set in self._sets:
            logs.update({f"{pair_set.name}/{measure}": math.nan for measure in self.measures})
        last = self._directory / "last.keras"
        # All workers: statistics are averaged over them when they are read.
        save_checkpoint(self.model, last)
        if not due:
            return
        if self._sets:
            self.evaluate()
        if not self.embedder.workers.is_chief:
            return
        for result in self.results:
            logs.update({f"{result['set']}/{measure}": result[measure] for measure in self.measures})
        best_by = self._settings.best_by
        score = float(np.mean([result[best_by] for result in self.results])) if self._sets else math.inf
        if score >= self._best:
            self._best = score
            with write_aside(self._directory / "best.keras") as aside:
                aside.write_bytes(last.read_bytes())


class SimilarityMonitor(tf.keras.callbacks.Callback):
    """Follow the similarity distributions of every group on the same rows: for TensorBoard, and the plot of the run."""

    def __init__(
        self, probe: tf.data.Dataset, embedder: ChiefEmbedder, directory: Path, writer: tf.summary.SummaryWriter
    ) -> None:
        super().__init__()
        self._probe, self._embedder, self._directory, self._writer = probe, embedder, directory, writer

    def _measure(self, model: tf.keras.Model) -> dict[str, np.ndarray]:
        parts: dict[str, list[np.ndarray]] = {}
        for inputs, targets in self._probe:
            rows = targets["embedding"]
            # Keras 3's `predict_on_batch` gives the rows once for each replica.
            embeddings = model.predict(inputs["image"], batch_size=len(rows), verbose=0)
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
        log = read_log(path)[:first_epoch] if path.exists() else pd.DataFrame()
        self._rows: list[dict[Any, Any]] = log.to_dict("records")

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Add the epoch."""
        values = {key: float(np.asarray(value)) for key, value in (logs or {}).items()}
        # Keras keeps what the schedule gave for the step that was just done.
        rate = float(tf.keras.backend.get_value(self.model.optimizer.learning_rate))
        self._rows.append({"epoch": epoch + 1, "learning_rate": rate, **values})
        with write_aside(self._path) as aside:
            pd.DataFrame(self._rows).to_csv(aside, index=False)


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
