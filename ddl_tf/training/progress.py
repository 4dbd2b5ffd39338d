"""Progress of a training run: images per second, time left and the losses."""

from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.progress import Progress


class TrainingProgress(tf.keras.callbacks.Callback):
    """Show on stderr how far the run is, its speed, the time left and the losses.

    Args:
        total_steps: of the whole run.
        first_step: where this process begins.
        rows: images of a batch.
    """

    def __init__(self, total_steps: int, first_step: int, rows: int) -> None:
        super().__init__()
        self._total_steps, self._step, self._rows = total_steps, first_step, rows

    def on_train_begin(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Begin where the run stands.

        Args:
            logs: not used.
        """
        self._progress = Progress("train", self._total_steps * self._rows, self._step * self._rows)

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Count one step.

        Args:
            batch: the number of the step in its epoch.
            logs: the running means of the losses and metrics.
        """
        self._step += 1
        losses = {key: float(np.asarray(value)) for key, value in (logs or {}).items() if key.endswith("loss")}
        note = ", ".join(f"{key} {value:.3f}" for key, value in losses.items())
        self._progress.advance(self._rows, f"step {self._step} of {self._total_steps}, {note}")

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Leave the progress as it stands.

        Args:
            logs: not used.
        """
        self._progress.close()
