"""Checkpoints to resume from, stops that lose nothing, and losses that are not finite."""

import contextlib
import dataclasses
import os
import re
import shutil
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError, NotFiniteError, TrainingStopped
from ddl_tf.common.files import as_os_errors, sync_file, sync_folder
from ddl_tf.common.keras_version import all_layers, random_states, variable_path
from ddl_tf.common.replicas import average_statistics
from ddl_tf.common.stops import Stops, listening
from ddl_tf.layers.sharded import copies_of, is_shard
from ddl_tf.training.optimizers import base_optimizer


@dataclasses.dataclass(frozen=True)
class Steps:
    """How many steps and epochs a run has; `first` steps are done already, where this process begins."""

    first: int
    per_epoch: int
    epochs: int
    checkpoint_every: int = 1

    @property
    def total(self) -> int:
        """The steps of the whole run."""
        return self.epochs * self.per_epoch

    def segments(self) -> list[tuple[int, int]]:
        """List (start, end) of the steps to do, such that Keras fits each with whole epochs or a part of one."""
        boundary = min(-(-self.first // self.per_epoch) * self.per_epoch, self.total)
        return [(start, end) for start, end in ((self.first, boundary), (boundary, self.total)) if start < end]


class ResumePoint:
    """The state of a run on disk: weights, optimizer and step, in `ckpt-STEP.data-...` and `ckpt-STEP.index`.

    There is no list of them that could be wrong: after a kill at any moment each is whole, or `restore` finds that it
    is not. A worker that is not the chief writes to `scratch`: it takes part because statistics are averaged over
    all workers when they are read. `latest` is the path that was last restored or written, or None.
    """

    def __init__(self, directory: Path, model: tf.keras.Model, scratch: Optional[Path] = None) -> None:
        self._model, self._directory, self._scratch = model, directory, scratch
        # The optimizer makes its slots when it is first used, which is too late to restore them all at once.
        optimizer = base_optimizer(model)
        optimizer.build(model.trainable_variables)
        self.step = tf.Variable(0, dtype=tf.int64, trainable=False, name="step")
        # Keras leaves the random state of its layers (dropout) out of a model's checkpoint.
        generators = [state for layer in all_layers(model) for state in random_states(layer)]
        # A checkpoint has the first copy of a variable alone, and restores all others from it.
        variables = [*model.variables, *optimizer.variables]
        self._shards = [copy for variable in variables if is_shard(variable) for copy in copies_of(variable)]
        further = {"shards": self._shards} if self._shards else {}
        self._checkpoint = tf.train.Checkpoint(
            model=model, optimizer=model.optimizer, step=self.step, generators=generators, **further
        )
        # It is made when it is first asked for, and `restore` expects every checkpoint to have it.
        self._checkpoint.save_counter.assign(0)
        self.latest: Optional[str] = None
        self._kept: list[int] = []

    def _numbers(self, suffix: str) -> list[int]:
        """The steps of which there are files, ascending."""
        names = [re.fullmatch(rf"ckpt-(\d+){suffix}", file.name) for file in self._directory.glob("ckpt-*")]
        return sorted({int(match.group(1)) for match in names if match})

    def restore(self) -> int:
        """Load the newest checkpoint that can be read and fits the model; name the others on stderr, and leave them.

        Returns the number of steps that it has seen, 0 if there is no checkpoint; InputError if none can be read.
        """
        for number in () if self._scratch else self._numbers("_temp"):
            # A process was killed while it wrote.
            shutil.rmtree(self._directory / f"ckpt-{number}_temp")
        reason = ""
        for number in reversed(self._numbers(r"\.index")):
            path = str(self._directory / f"ckpt-{number}")
            try:
                status = self._checkpoint.restore(path)
                status.assert_existing_objects_matched()
                # Another optimizer may have slots of the same shapes, and more of them.
                status.assert_consumed()
                if self._shards:
                    # Again, since above a first shard may have come last, and went into the others.
                    tf.train.Checkpoint(shards=self._shards).read(path).assert_existing_objects_matched()
            except (AssertionError, IndexError, ValueError, tf.errors.OpError) as error:
                reason = (str(error).splitlines() or [type(error).__name__])[0]
                print(f"the checkpoint {path} cannot be resumed ({reason})", file=sys.stderr)
                continue
            self.latest, self._kept = path, [number]
            # On a MirroredStrategy the step is one variable for each device.
            return int(self.step.numpy())
        if reason:
            raise InputError(
                f"no checkpoint of {self._directory} can be resumed ({reason}): put a copy of one back, or begin anew "
                "in another --run_dir (with --init_checkpoint from what is in checkpoints/)"
            )
        return 0

    def check(self, step: int) -> None:
        """Raise NotFiniteError if a weight is not finite after `step` steps."""
        for variable in self._model.variables:
            parts = copies_of(variable) if is_shard(variable) else (variable,)
            if tf.as_dtype(variable.dtype).is_floating and not all(np.all(np.isfinite(part.numpy())) for part in parts):
                raise NotFiniteError(
                    f"weight {variable_path(variable)} is not finite after step {step}; {self.advice()}"
                )

    def advice(self) -> str:
        """Say what to do about a number that is not finite."""
        last = f"the last good checkpoint is {self.latest}" if self.latest else "there is no checkpoint yet"
        return f"{last}; lower --learning_rate, set --clip_norm, or look at the data of that step"

    def save(self, step: int) -> None:
        """Write a checkpoint of a step, and only then remove older ones.

        What was there before stays with NotFiniteError, for a weight, and with OSError, if it cannot be written.
        """
        self.check(step)
        average_statistics(self._model)
        self.step.assign(step)
        path = str(self._directory / f"ckpt-{step}")
        if self._scratch:
            self._checkpoint.write(str(self._scratch / "ckpt"))
        else:
            self._write(path, step)
        self.latest = path

    def _write(self, path: str, step: int) -> None:
        self._directory.mkdir(parents=True, exist_ok=True)
        with as_os_errors(self._directory):
            self._checkpoint.write(path)
        # Else the power may fail when the older ones are gone and this one is not yet on the disk.
        for file in self._directory.glob(f"ckpt-{step}.*"):
            sync_file(file)
        sync_folder(self._directory)
        # Two are kept: the newest, and one that serves if that is damaged.
        self._kept = [*(number for number in self._kept if number != step), step][-2:]
        for number in self._numbers(r"\..*"):
            if number < self._kept[0]:
                # The index first: without it the data is no checkpoint.
                for file in sorted(self._directory.glob(f"ckpt-{number}.*"), reverse=True):
                    file.unlink()


class StoppedBySignal(TrainingStopped):
    """A signal stopped training, after `step` steps and a checkpoint."""

    def __init__(self, number: signal.Signals, step: int) -> None:
        super().__init__(f"stopped by {number.name} after step {step}", 128 + number)
        self.signal = number


class SaveForResume(tf.keras.callbacks.Callback):
    """Write checkpoints every so many steps and at every epoch's end, and stop cleanly at a signal.

    A context manager around training. After SIGINT (Ctrl-C) or SIGTERM the running step finishes, a checkpoint is
    written and `StoppedBySignal` is raised. At the end of an epoch its evaluation and mining come first. A second
    signal, some seconds later, ends the process at once, as it would without this callback.
    `before` is called before a checkpoint is written, so that the files it needs are whole by then. `agree` gives the
    signal by which all workers stop, from the one that reached this worker; 0 for none.
    """

    def __init__(
        self,
        point: ResumePoint,
        steps: Steps,
        before: Callable[[], None],
        agree: Callable[[int], int],
    ) -> None:
        super().__init__()
        self._point, self._steps, self._before, self._agree = point, steps, before, agree
        self.step = steps.first
        self._signalled: Optional[signal.Signals] = None
        self._stops, self._listening = Stops(), contextlib.ExitStack()

    def __enter__(self) -> "SaveForResume":
        self._listening.enter_context(listening(self._stop))
        return self

    def __exit__(self, kind: Optional[type[BaseException]], *_: object) -> None:
        self._listening.close()
        if kind is None and self._signalled is not None:
            # It came after the last step: the handlers of before decide.
            signal.raise_signal(self._signalled)

    def _stop(self, number: int, frame: Optional[FrameType]) -> None:
        second = self._stops.is_second()
        if self._signalled is None:
            self._signalled = signal.Signals(number)
            # Not by `print`, which the signal may have interrupted.
            os.write(2, f"{self._signalled.name}: stopping when this step, or this epoch's end, is done\n".encode())
        elif second:
            self._listening.close()
            signal.raise_signal(number)

    def on_train_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Check the losses, and write a checkpoint if it is time."""
        self.step += 1
        self._check(logs or {})
        if self.step % self._steps.per_epoch == 0:
            # The epoch's results come before its checkpoint: `on_epoch_end` is called next. They are files too, which
            # weights that are not finite must not replace.
            self._point.check(self.step)
            return
        number = self._agree(self._signalled or 0)
        if number or self.step % self._steps.checkpoint_every == 0:
            self._save(number)

    def _save(self, stopped_by: int) -> None:
        self._before()
        self._point.save(self.step)
        if stopped_by:
            raise StoppedBySignal(signal.Signals(stopped_by), self.step)

    def on_epoch_end(self, epoch: int, logs: Optional[dict[str, Any]] = None) -> None:
        """Write a checkpoint."""
        self._save(self._agree(self._signalled or 0))

    def _check(self, logs: dict[str, Any]) -> None:
        """Keras' logs are means since the epoch began: the first that is not finite is of this very step."""
        losses = {key: float(np.asarray(value)) for key, value in logs.items() if key.endswith("loss")}
        broken = [key for key, value in losses.items() if not np.isfinite(value)]
        if broken:
            # The terms say more than their sum, which is named only if it stands alone.
            terms = [key for key in broken if key != "loss"] or broken
            named = " and ".join(f"{key} is {losses[key]}" for key in terms)
            raise NotFiniteError(f"{named} at step {self.step}; {self._point.advice()}")
