"""What is watched between epochs: verification sets, similarity distributions, and the log of the run."""

import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
import tensorflow as tf

from ddl_tf.common.files import write_arrays, write_aside
from ddl_tf.evaluation import evaluate_pairs
from ddl_tf.losses import group_similarities
from ddl_tf.models import save_checkpoint
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.training.run_folder import read_log
from ddl_tf.training.workers import ChiefEmbedder, Workers


class Verification(tf.keras.callbacks.Callback):
    """Evaluate on verification sets every few epochs, and keep the best and the last checkpoint.

    Its results go into the epoch's logs, `SET/accuracy` and so on, NaN in epochs without an evaluation. Without
    sets, every epoch's checkpoint counts as the best.

    Args:
        sets: the verification sets.
        workers: the processes that train; the chief evaluates, and the others have no results.
        directory: where `best.keras` and `last.keras` go; of others than the chief, a throw-away place.
        every: epochs between evaluations; the last epoch is always evaluated.
        epochs: of the whole run.
        best_by: the measure, averaged over the sets, that chooses the best checkpoint: larger is better.
        best: the best value so far, of a resumed run.
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
        self._sets, self._workers = sets, workers
        self._directory = directory
        self._every = every
        self._epochs = epochs
        self._best_by = best_by
        self._best = best
        self.results: list[dict[str, Any]] = []

    def set_model(self, model: tf.keras.Model) -> None:
        """Take the model; its embedding part is traced once for all evaluations.

        Args:
            model: the recognizer.
        """
        super().set_model(model)
        self._embedder = ChiefEmbedder(model, self._workers)

    def evaluate(self) -> list[dict[str, Any]]:
        """Evaluate the model as it stands.

        Returns:
            The results of each set, as `evaluate_pairs` gives them.
        """
        results = self._embedder.run(lambda model: [evaluate_pairs(model, pair_set) for pair_set in self._sets])
        self.results = results or []
        return self.results

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Evaluate, if it is time, and write the checkpoints.

        Args:
            epoch: from 0.
            logs: the epoch's results, to which those of the sets are added.
        """
        logs = logs if logs is not None else {}
        due = (epoch + 1) % self._every == 0 or epoch + 1 == self._epochs
        for pair_set in self._sets:
            logs.update({f"{pair_set.name}/{measure}": math.nan for measure in self.measures})
        last = self._directory / "last.keras"
        # All workers: statistics are averaged over them when they are read.
        save_checkpoint(self.model, last)
        if not due:
            return
        score = math.inf
        results = self.evaluate() if self._sets else []
        if not self._workers.is_chief:
            return
        if self._sets:
            for result in results:
                logs.update({f"{result['set']}/{measure}": result[measure] for measure in self.measures})
            score = float(np.mean([result[self._best_by] for result in self.results]))
        if score >= self._best:
            self._best = score
            with write_aside(self._directory / "best.keras") as aside:
                aside.write_bytes(last.read_bytes())


class SimilarityMonitor(tf.keras.callbacks.Callback):
    """Follow the similarity distributions of every group on the same rows, epoch by epoch.

    They go to TensorBoard as histograms, and the last ones to `similarities.npz` for the plot of the run.

    Args:
        probe: batches of rows with groups, as the pipeline makes them.
        workers: the processes that train; the chief measures.
        directory: where `similarities.npz` goes.
        writer: of TensorBoard.
    """

    def __init__(
        self, probe: tf.data.Dataset, workers: Workers, directory: Path, writer: tf.summary.SummaryWriter
    ) -> None:
        super().__init__()
        self._probe, self._workers = probe, workers
        self._directory = directory
        self._writer = writer

    def set_model(self, model: tf.keras.Model) -> None:
        """Take the model; its embedding part is traced once.

        Args:
            model: the recognizer.
        """
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
        """Measure the similarities.

        Args:
            epoch: from 0.
            logs: not used.
        """
        arrays = self._embedder.run(self._measure)
        if arrays is None:
            return
        with self._writer.as_default(step=epoch):
            for key, values in arrays.items():
                tf.summary.histogram(f"similarity/{key}", values)
        self._writer.flush()
        write_arrays(self._directory / "similarities.npz", arrays)


class RunLog(tf.keras.callbacks.Callback):
    """Write the results of every epoch to `log.csv`, whole and atomically.

    Args:
        path: of the CSV file; a resumed run goes on with the rows of the epochs before `first_epoch`.
        first_epoch: from 0, the first epoch of this process.
    """

    def __init__(self, path: Path, first_epoch: int) -> None:
        super().__init__()
        self._path = path
        self._rows: list[dict[str, Any]] = []
        if path.exists():
            log = read_log(path)
            self._rows = [{str(k): v for k, v in row.items()} for row in log.to_dict("records")][:first_epoch]

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Add the epoch.

        Args:
            epoch: from 0.
            logs: its results.
        """
        values = {key: float(np.asarray(value)) for key, value in (logs or {}).items()}
        self._rows.append({"epoch": epoch + 1, "learning_rate": self._learning_rate(), **values})
        with write_aside(self._path) as aside:
            pd.DataFrame(self._rows).to_csv(aside, index=False)

    def _learning_rate(self) -> float:
        """Of the step that was just done: Keras keeps what the schedule gave."""
        return float(tf.keras.backend.get_value(self.model.optimizer.learning_rate))
