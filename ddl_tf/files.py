"""Files that are either whole or not there, and folders that one process at a time works in."""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from ddl_tf.errors import InputError


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Write a file aside and move it to its place when it is complete.

    A reader never sees half of it, and a failure leaves what was there before.

    Args:
        path: where the file shall be; its folder is made if it is missing.

    Yields:
        The path to write to, in the same folder and with the same suffix.

    Example:
        >>> with write_aside(Path("results.json")) as aside:
        ...     aside.write_text("{}")
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        os.replace(aside, path)
    except OSError as error:
        # A full disk has no name, and that of the file aside means nothing to a person.
        if error.errno and (error.filename is None or os.fspath(error.filename) == os.fspath(aside)):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


@contextlib.contextmanager
def lock_folder(folder: Path, name: str = "lock") -> Iterator[None]:
    """Keep other processes out of a folder until the end of the block, or of this process.

    Args:
        folder: the folder; it is made if it is missing.
        name: of the file in it that is locked.

    Yields:
        Nothing.

    Raises:
        InputError: if another process has it.

    Example:
        >>> with lock_folder(Path("runs/ddl")):
        ...     pass
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / name).open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise InputError(
                f"{folder}: another process is at work in it; wait for that one, or choose another folder"
            ) from None
        yield


@contextlib.contextmanager
def disk_full_as_os_error(folder: Path) -> Iterator[None]:
    """Tell a full disk from a full memory while TensorFlow writes, which calls both an exhausted resource.

    Args:
        folder: where it writes.

    Yields:
        Nothing.

    Raises:
        OSError: if there is no space left.

    Example:
        >>> with disk_full_as_os_error(Path("models")):
        ...     tf.saved_model.save(module, "models/1")
    """
    # Commands that only handle files do not wait for its import.
    import tensorflow as tf

    try:
        yield
    except tf.errors.ResourceExhaustedError:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder)) from None
