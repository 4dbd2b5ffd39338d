"""Files that are either whole or not there, and folders that one process at a time works in."""

import contextlib
import errno
import fcntl
import io
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np

from ddl_tf.errors import InputError


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Write a file aside and move it to its place when it is complete.

    A reader never sees half of it, and a failure leaves what was there before. When the block has ended, the content
    and its name are on the disk: a power cut takes neither, as far as the file system and the disk keep their word.

    Args:
        path: where the file shall be; its folder is made if it is missing.

    Yields:
        The path to write to, in the same folder and with the same suffix.

    Example:
        >>> with write_aside(Path("results.json")) as aside:
        ...     aside.write_text("{}")
    """
    path = Path(path)
    # A new folder has a name, too, in the one above it.
    changed = [path.parent, *(folder.parent for folder in path.parents if not folder.exists())]
    path.parent.mkdir(parents=True, exist_ok=True)
    aside = path.with_name(f".{path.stem}.{os.getpid()}{path.suffix}")
    try:
        yield aside
        # Else the power may fail when the new name is on the disk and the content is not.
        sync_file(aside)
        os.replace(aside, path)
        for folder in changed:
            sync_folder(folder)
    except OSError as error:
        # A full disk has no name, and that of the file aside means nothing to a person.
        if error.errno and (error.filename is None or os.fspath(error.filename) == os.fspath(aside)):
            raise OSError(error.errno, error.strerror, os.fspath(path)) from error
        raise
    finally:
        aside.unlink(missing_ok=True)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk.

    Args:
        path: the file.

    Example:
        >>> sync_file(Path("results.json"))
    """
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, such as the new one of a file that was renamed.

    Args:
        folder: the folder; nothing is done where its file system cannot do that, or does not let it be opened.

    Example:
        >>> sync_folder(Path("runs"))
    """
    try:
        sync_file(folder)
    except OSError as error:
        # Some network file systems have no such call, and there is nothing more to ask of them.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def sync_tree(folder: Path) -> None:
    """Wait until a folder and all that is in it is on the disk, before it gets the name that says that it is whole.

    Args:
        folder: the folder.

    Example:
        >>> sync_tree(Path(".export/model"))
    """
    for path in [*folder.rglob("*"), folder]:
        if path.is_dir():
            sync_folder(path)
        else:
            sync_file(path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as `.npz`, whole or not at all.

    Args:
        path: the file.
        arrays: by name.

    Example:
        >>> write_arrays(Path("scores.npz"), {"similarity": np.zeros(5)})
    """
    # An archive that a full disk cuts short would complain once more when Python throws it away.
    content = io.BytesIO()
    np.savez(content, **arrays)
    with write_aside(path) as aside:
        aside.write_bytes(content.getbuffer())


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left of `write_aside`; the folder must be this process's.

    Args:
        folder: it may be missing.

    Example:
        >>> remove_leftovers(Path("runs/ddl"))
    """
    for file in folder.glob(".*"):
        if re.fullmatch(r"\..+\.\d+(\.\w+)?", file.name) and file.is_file():
            file.unlink()


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
def as_os_errors(folder: Path) -> Iterator[None]:
    """Make errors of the operating system of what TensorFlow raises while it writes.

    TensorFlow calls a full disk and a full memory both an exhausted resource, and tells the others by their text.

    Args:
        folder: where it writes.

    Yields:
        Nothing.

    Raises:
        OSError: if there is no space left, no permission, and so on.

    Example:
        >>> with as_os_errors(Path("models")):
        ...     tf.saved_model.save(module, "models/1")
    """
    # Commands that only handle files do not wait for its import.
    import tensorflow as tf

    try:
        yield
    except tf.errors.UnavailableError:
        # That another worker is gone, which no disk is to blame for.
        raise
    except tf.errors.OpError as error:
        for number in errno.errorcode:
            if f"; {os.strerror(number)}" in error.message:
                raise OSError(number, os.strerror(number), str(folder)) from None
        raise
