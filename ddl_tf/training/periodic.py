"""Arrays that training makes again and again, and that the input pipeline, which works ahead of it, waits for."""

import threading
from pathlib import Path

import numpy as np

from ddl_tf.common.files import read_arrays, write_arrays

Arrays = dict[str, np.ndarray]


class PeriodicArrays:
    """A dict of arrays for every period of training, stored so that a resumed run draws the same rows.

    Those of number n are made after step `n * every`, for the steps from `(n + delay) * every` on. With a delay of 0
    the pipeline stands still while they are made; with 1 there is a whole period to make them in. Number 0 serves from
    the first step on. Files are kept for `kept_steps` back, for a run that is resumed.
    """

    def __init__(self, folder: Path, every: int, delay: int, kept_steps: int) -> None:
        self._folder, self.every, self._delay = folder, every, delay
        self._kept = 2 + delay + -(-kept_steps // every)
        self._arrays: dict[int, Arrays] = {}
        self._changed = threading.Condition()
        self._closed = False

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"

    def number(self, step: int) -> int:
        """Return the number of the arrays that a step takes."""
        return max(0, step // self.every - self._delay)

    def restore(self, step: int) -> None:
        """Read the arrays of a run that has done `step` steps; remove those of a later step, which will be made again.

        With 0, a new run, all are removed: a stopped one may have left them. InputError if arrays that the next steps
        need are missing or damaged.
        """
        for file in sorted(self._folder.glob("[0-9]*.npz")):
            if not step or int(file.stem) * self.every > step:
                file.unlink()
        if not step:
            return
        for number in range(self.number(step), step // self.every + 1):
            self._arrays[number] = read_arrays(
                self._path(number),
                "the run needs it to go on as it would have: put a copy of it back, or begin anew in another --run_dir",
            )

    def publish(self, number: int, arrays: Arrays) -> None:
        """Store arrays, which do not change any more, and wake who waits for them."""
        write_arrays(self._path(number), arrays)
        with self._changed:
            self._arrays[number] = arrays
            for old in [n for n in self._arrays if n < number - self._delay - 1]:
                del self._arrays[old]
            self._changed.notify_all()
        for old_file in self._folder.glob("[0-9]*.npz"):
            if int(old_file.stem) < number - self._kept:
                old_file.unlink()

    def of_step(self, step: int) -> tuple[int, Arrays]:
        """Wait for the arrays of a step, and return their number and them; RuntimeError if training ended before."""
        number = self.number(step)
        with self._changed:
            self._changed.wait_for(lambda: number in self._arrays or self._closed)
            if number not in self._arrays:
                raise RuntimeError(f"training ended before the rows of step {step} could be known")
            return number, self._arrays[number]

    def close(self) -> None:
        """Wake all that wait, and let none wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
