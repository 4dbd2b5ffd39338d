"""Arrays that training renews as it goes, and that the input pipeline waits for.

The rows of a step may follow from the weights at an earlier step, of which the pipeline, that works ahead, cannot know
when it is there. So a step always takes the value of one certain earlier step, and waits for it; the values lie in the
run folder, so that a resumed run draws the same rows.
"""

import threading
from pathlib import Path

import numpy as np

from ddl_tf.common.files import read_arrays, write_arrays

Arrays = dict[str, np.ndarray]


class Renewed:
    """A value for every period of training.

    Value n is made after step `n * every`, and is that of the steps from `(n + delay) * every` on. With a delay of 0
    the pipeline stands still while it is made; with 1 there is a whole period to make it in. Value 0 serves from
    the first step on.

    Args:
        folder: where the values are kept.
        every: steps of a period.
        delay: 0 or 1.
        kept_steps: for so many steps back values are kept, for a run that is resumed.

    Example:
        >>> neighbours = Renewed(Path("/tmp/neighbours"), every=100, delay=1, kept_steps=1000)
        >>> neighbours.publish(0, {"nearest": np.zeros([5, 2])})
        >>> neighbours.of_step(150)[0]
        0
    """

    def __init__(self, folder: Path, every: int, delay: int, kept_steps: int) -> None:
        self._folder, self.every, self._delay = folder, every, delay
        self._kept = 2 + delay + -(-kept_steps // every)
        self._values: dict[int, Arrays] = {}
        self._changed = threading.Condition()
        self._closed = False

    def _path(self, number: int) -> Path:
        return self._folder / f"{number:06d}.npz"

    def number(self, step: int) -> int:
        """The number of the value that a step takes.

        Args:
            step: from 0.

        Returns:
            0 or above.
        """
        return max(0, step // self.every - self._delay)

    def restore(self, step: int) -> None:
        """Take up the values of a run that is resumed.

        Args:
            step: how many steps are done; 0 for a new run, whose folder may hold what a stopped one left.

        Raises:
            InputError: if a value that the next steps need is missing or damaged.
        """
        for file in sorted(self._folder.glob("[0-9]*.npz")):
            number = int(file.stem)
            # What was made after the checkpoint will be made again.
            if not step or number * self.every > step:
                file.unlink()
        if not step:
            return
        for number in range(self.number(step), step // self.every + 1):
            self._values[number] = read_arrays(
                self._path(number),
                "the run needs it to go on as it would have: put a copy of it back, or begin anew in another --run_dir",
            )

    def publish(self, number: int, arrays: Arrays) -> None:
        """Give out a value; who waits for it goes on.

        Args:
            number: of the value.
            arrays: the value, of which nothing is changed any more.
        """
        write_arrays(self._path(number), arrays)
        with self._changed:
            self._values[number] = arrays
            for old in [n for n in self._values if n < number - self._delay - 1]:
                del self._values[old]
            self._changed.notify_all()
        for old_file in self._folder.glob("[0-9]*.npz"):
            if int(old_file.stem) < number - self._kept:
                old_file.unlink()

    def of_step(self, step: int) -> tuple[int, Arrays]:
        """Take the value of a step, when it is there.

        Args:
            step: from 0; not far before those that were asked for already.

        Returns:
            Its number and the value.

        Raises:
            RuntimeError: if training ended before it was made.
        """
        number = self.number(step)
        with self._changed:
            self._changed.wait_for(lambda: number in self._values or self._closed)
            if number not in self._values:
                raise RuntimeError(f"training ended before the rows of step {step} could be known")
            return number, self._values[number]

    def close(self) -> None:
        """Let nobody wait any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()
