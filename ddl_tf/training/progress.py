"""Progress of a training run: images per second and time left."""

import sys
import time
from typing import Any, Optional

import numpy as np
import tensorflow as tf
from tqdm import tqdm

# Seconds between the lines of a log file; a terminal has a bar.
LOG_INTERVAL = 30.0


class Progress(tf.keras.callbacks.Callback):
    """Show on stderr how far the run is, its speed, the time left and the losses.

    On a terminal it is one bar for the whole run. Elsewhere (a log file, CI) it is a line every half minute.

    Args:
        total_steps: of the whole run.
        first_step: where this process begins.
        rows: images of a batch.
    """

    def __init__(self, total_steps: int, first_step: int, rows: int) -> None:
        super().__init__()
        self._total_steps = total_steps
        self._first_step = self._step = first_step
        self._rows = rows
        self._began = self._logged = time.monotonic()

    def on_train_begin(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Open the bar where the run stands.

        Args:
            logs: not used.
        """
        self._bar = tqdm(
            total=self._total_steps * self._rows,
            initial=self._step * self._rows,
            unit="img",
            unit_scale=True,
            dynamic_ncols=True,
            disable=not sys.stderr.isatty(),
        )

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Count one step.

        Args:
            batch: the number of the step in its epoch.
            logs: the running means of the losses and metrics.
        """
        self._step += 1
        shown = {key: float(np.asarray(value)) for key, value in (logs or {}).items() if key.endswith("loss")}
        if not self._bar.disable:
            self._bar.set_postfix({key: f"{value:.3f}" for key, value in shown.items()}, refresh=False)
            self._bar.update(self._rows)
            return
        now = time.monotonic()
        if now - self._logged < LOG_INTERVAL and self._step < self._total_steps:
            return
        self._logged = now
        rate = (self._step - self._first_step) * self._rows / (now - self._began)
        left = (self._total_steps - self._step) * self._rows / rate
        losses = ", ".join(f"{key} {value:.3f}" for key, value in shown.items())
        minutes, seconds = divmod(round(left), 60)
        print(
            f"step {self._step}/{self._total_steps}, {rate:.0f} images/s, {minutes}:{seconds:02d} left, {losses}",
            file=sys.stderr,
            flush=True,
        )

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Leave the bar as it stands.

        Args:
            logs: not used.
        """
        self._bar.close()
