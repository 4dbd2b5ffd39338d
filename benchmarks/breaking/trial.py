"""One damaged input through one reader: whether it is taken, refused in one line, or the reader fails."""

import contextlib
import io
import os
import random
import shutil
import signal
import traceback
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import NamedTuple

from breaking.damage import damage_file
from ddl_tf.client.errors import RequestError
from ddl_tf.common.errors import InputError, NotFiniteError

# A reader that is at work longer than this on a few kilobytes hangs, also on a busy machine.
SECONDS = 120


class Target(NamedTuple):
    """A reader, and an input that it takes.

    Attributes:
        name: for the table.
        make: writes the input into a folder that is there.
        files: globs of the files of it that are damaged.
        read: reads the input of the first folder; what it writes goes into the second one, which is empty.
        every: in which turns `break_it.py` tries it: a slow reader not in all.
    """

    name: str
    make: Callable[[Path], None]
    files: tuple[str, ...]
    read: Callable[[Path, Path], object]
    every: int = 1


class Trial(NamedTuple):
    """What came of an input.

    Attributes:
        kind: "taken", "refused", "traceback", "hang" or "touched" (something outside of the output was changed).
        message: the message, or the traceback's last lines.
        file: the file that was damaged.
    """

    kind: str
    message: str
    file: str

    @property
    def is_fault(self) -> bool:
        """Whether the reader failed."""
        return self.kind not in ("taken", "refused")


class _Hang(BaseException):
    """No `except Exception` of a reader swallows it."""


@contextlib.contextmanager
def _limit(seconds: float) -> Iterator[None]:
    def stop(number: int, frame: object) -> None:
        raise _Hang

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def _state(folder: Path) -> dict[str, tuple[int, int, int]]:
    """Every file and folder below one, with its type, size and time of change."""
    state = {}
    for inside, folders, files in os.walk(folder):
        for name in (*folders, *files):
            path = os.path.join(inside, name)
            status = os.lstat(path)
            # Of a folder neither says anything that the names in it do not.
            is_folder = os.path.isdir(path) and not os.path.islink(path)
            state[path] = (status.st_mode, *((0, 0) if is_folder else (status.st_size, status.st_mtime_ns)))
    return state


def try_reader(target: Target, source: Path, output: Path) -> tuple[str, str]:
    """Read an input.

    Args:
        target: the reader.
        source: the folder with the input; nothing in it may change.
        output: an empty folder.

    Returns:
        The kind and the message of a `Trial`.
    """
    before = _state(source)
    kind, message = "taken", ""
    silence = contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO())
    try:
        with silence[0], silence[1], warnings.catch_warnings(), _limit(SECONDS):
            warnings.simplefilter("ignore")
            target.read(source, output)
    except (InputError, NotFiniteError, OSError, RequestError) as error:
        # A command prints these in one line: see `ddl_tf.common.command`.
        kind, message = "refused", str(error)
    except _Hang:
        kind, message = "hang", f"still at work after {SECONDS} s"
    except KeyboardInterrupt:
        raise
    except BaseException:  # what a reader should never raise is what is looked for
        kind, message = "traceback", traceback.format_exc()
    if _state(source) != before:
        kind, message = "touched", f"changed what it only reads ({kind}: {message})"
    return kind, message


def run_trial(target: Target, pristine: Path, work: Path, seed: int) -> Trial:
    """Damage one file of an input and read it.

    Args:
        target: the reader.
        pristine: the folder that `target.make` wrote; it is copied, not changed.
        work: a folder for this trial alone; it is made and removed.
        seed: of the damage.

    Returns:
        What came of it.
    """
    draw = random.Random(f"{target.name} {seed}")
    source, output = work / "source", work / "output"
    output.mkdir(parents=True)
    try:
        # Links cost nothing beside copies; the file to damage is a copy.
        shutil.copytree(pristine, source, copy_function=os.link)
        files = sorted(path for pattern in target.files for path in source.glob(pattern))
        path = draw.choice(files)
        content = path.read_bytes()
        path.unlink()
        path.write_bytes(content)
        damage_file(path, draw)
        kind, message = try_reader(target, source, output)
        return Trial(kind, message, str(path.relative_to(source)))
    finally:
        shutil.rmtree(work)
