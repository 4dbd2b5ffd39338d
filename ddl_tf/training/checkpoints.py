"""Checkpoints to resume from, stops that lose nothing, and losses that are not finite."""

import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.errors import InputError, NotFiniteError
from ddl_tf.files import disk_full_as_os_error


class ResumePoint:
    """The state of a run on disk: weights, optimizer and step.

    Args:
        directory: where the checkpoints are.
        model: the compiled recognizer.
        throw_away: where they are written instead by a worker that is not the chief. Its part in writing is that
            statistics are averaged over all workers when they are read.
    """

    def __init__(self, directory: Path, model: tf.keras.Model, throw_away: Optional[Path] = None) -> None:
        self._model, self._directory = model, directory
        # The optimizer makes its slots when it is first used, which is too late to restore them all at once.
        optimizer = getattr(model.optimizer, "inner_optimizer", model.optimizer)
        optimizer.build(model.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        # Keras leaves the random state of its layers (dropout) out of a model's checkpoint.
        sources = [getattr(layer, "_random_generator", None) for layer in model.submodules]
        generators = [getattr(source, "_generator", None) for source in sources]
        generators = [generator for generator in generators if generator is not None]
        checkpoint = tf.train.Checkpoint(model=model, optimizer=model.optimizer, step=self.step, generators=generators)
        self._manager = tf.train.CheckpointManager(checkpoint, str(throw_away or directory), max_to_keep=2)

    @property
    def latest(self) -> Optional[str]:
        """The path of the newest checkpoint; None if there is none."""
        latest = self._manager.latest_checkpoint
        return latest and str(self._directory / Path(latest).name)

    def restore(self) -> int:
        """Load the newest checkpoint that can be read; a damaged one is told of on stderr.

        Returns:
            The number of steps that it has seen; 0 if there is no checkpoint.

        Raises:
            InputError: if there are checkpoints, but none can be read and fits the model.
        """
        reason = ""
        # Of the files themselves, since the manager's own list of them may be what is damaged.
        found = [file.with_suffix("") for file in self._directory.glob("ckpt-*.index")]
        for path in sorted(found, key=lambda path: int(path.name[len("ckpt-") :]), reverse=True):
            try:
                self._manager.checkpoint.restore(str(path)).assert_existing_objects_matched()
            except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                print(f"the checkpoint {path} cannot be resumed ({reason})", file=sys.stderr)
                continue
            # On a MirroredStrategy the step is one variable for each device.
            return int(self.step.numpy())
        if reason:
            raise InputError(
                f"no checkpoint of {self._directory} can be resumed ({reason}): begin anew in another --run_dir"
            )
        return 0

    def save(self, step: int) -> str:
        """Write a checkpoint.

        Args:
            step: how many steps the weights have seen.

        Returns:
            Its path.

        Raises:
            NotFiniteError: if a weight is not finite; nothing is written then.
        """
        for variable in self._model.variables:
            if variable.dtype.is_floating and not np.all(np.isfinite(variable.numpy())):
                raise NotFiniteError(
                    f"weight {variable.name} is not finite after step {step}; the last good checkpoint is "
                    f"{self.latest or 'none: the run had not reached its first'}"
                )
        self.step.assign(step)
        with disk_full_as_os_error(Path(self._manager.directory)):
            return self._manager.save(checkpoint_number=step)


class StoppedBySignal(Exception):
    """Training was told to stop, and wrote a checkpoint first.

    Args:
        number: the signal.
        step: how many steps the checkpoint has seen.
    """

    def __init__(self, number: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {number.name} after step {step}")
        self.signal = number


class SaveForResume(tf.keras.callbacks.Callback):
    """Write checkpoints as training goes, and stop cleanly when told to.

    After SIGINT (Ctrl-C) or SIGTERM the running step finishes, a checkpoint is written and `StoppedBySignal` is
    raised; a second signal ends the process at once, as it would without this callback.

    Args:
        point: where the state goes.
        first_step: where this process begins.
        every: steps between checkpoints.
        steps_per_epoch: every epoch's end is a checkpoint too.
        before: called before a checkpoint is written, so that what else is kept is whole by then.
        agree: what all workers stop by, given the number of the signal that reached this one; 0 for none. It is
            called after every step and every epoch.

    Attributes:
        step: how many steps are done.
    """

    def __init__(
        self,
        point: ResumePoint,
        first_step: int,
        every: int,
        steps_per_epoch: int,
        before: Callable[[], None],
        agree: Callable[[int], int],
    ) -> None:
        super().__init__()
        self._point = point
        self._before, self._agree = before, agree
        self.step = first_step
        self._every = every
        self._steps_per_epoch = steps_per_epoch
        self._handlers: dict[signal.Signals, Any] = {}
        self._signalled: Optional[signal.Signals] = None

    def _stop(self, number: int, frame: Optional[FrameType]) -> None:
        self._signalled = signal.Signals(number)
        self._restore_handlers()

    def _restore_handlers(self) -> None:
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._handlers = {}

    def on_train_begin(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Listen for signals.

        Args:
            logs: not used.
        """
        for number in (signal.SIGINT, signal.SIGTERM):
            self._handlers[number] = signal.signal(number, self._stop)

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Check the losses, and write a checkpoint if it is time.

        Args:
            batch: the number of the step in its epoch.
            logs: the running means of the losses and metrics.

        Raises:
            NotFiniteError: if a loss is not finite.
            StoppedBySignal: if a signal came.
        """
        self.step += 1
        self._check(logs or {})
        # At the end of an epoch its results come first: `on_epoch_end` is called next.
        if self.step % self._steps_per_epoch:
            number = self._agree(self._signalled or 0)
            if number or self.step % self._every == 0:
                self._save(number)

    def _save(self, stopped_by: int) -> None:
        self._before()
        self._point.save(self.step)
        if stopped_by:
            raise StoppedBySignal(signal.Signals(stopped_by), self.step)

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Write a checkpoint.

        Args:
            epoch: from 0.
            logs: not used.

        Raises:
            StoppedBySignal: if a signal came.
        """
        self._save(self._agree(self._signalled or 0))

    def on_train_end(self, logs: Optional[dict[str, Any]] = None) -> None:
        """Listen no longer.

        Args:
            logs: not used.
        """
        self._restore_handlers()

    def _check(self, logs: dict[str, Any]) -> None:
        """Keras' logs are means since the epoch began: the first that is not finite is of this very step."""
        losses = {key: float(np.asarray(value)) for key, value in logs.items() if key.endswith("loss")}
        broken = [key for key, value in losses.items() if not np.isfinite(value)]
        if not broken:
            return
        self._restore_handlers()
        # The terms say more than their sum, which is named only if it stands alone.
        terms = [key for key in broken if key != "loss"] or broken
        raise NotFiniteError(
            f"{' and '.join(f'{key} is {losses[key]}' for key in terms)} at step {self.step}; the last good "
            f"checkpoint is {self._point.latest or 'none: the run had not reached its first'}; lower --learning_rate, "
            "set --clip_norm, or look at the data of that step"
        )
