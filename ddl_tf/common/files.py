"""Files that are either whole or not there, and folders that one process at a time works in."""

import contextlib
import errno
import fcntl
import io
import os
import re
import stat
import tokenize
import zipfile
import zlib
from collections import deque
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Union

import numpy as np

from ddl_tf.common.errors import InputError

# What a killed process leaves of `write_aside`.
_LEFTOVER = re.compile(r"\..+\.\d+(\.\w+)?")
# What NumPy lets through from the parsers of its headers and archives when a file is damaged or something else.
_NUMPY_ERRORS = (
    *(ValueError, EOFError, TypeError, KeyError, AttributeError, SyntaxError, MemoryError, NotImplementedError),
    *(OverflowError, RecursionError, tokenize.TokenError, zipfile.BadZipFile, zlib.error),
)


@contextlib.contextmanager
def write_aside(path: Path) -> Iterator[Path]:
    """Write a file aside, to the path of the same suffix that is yielded, and move it to its place when it is complete.

    A failure leaves what was there before. At the end of the block, content and name are on the disk: a power cut
    takes neither. The folder is made if it is missing.
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


def add_content(digest: Any, path: Path) -> None:
    """Add the content of a file to a digest of `hashlib`, a part at a time."""
    with path.open("rb") as content:
        while block := content.read(2**20):
            digest.update(block)


def sync_file(path: Path) -> None:
    """Wait until the content of a file is on the disk."""
    file = os.open(path, os.O_RDONLY)
    try:
        os.fsync(file)
    finally:
        os.close(file)


def sync_folder(folder: Path) -> None:
    """Wait until the names in a folder are on the disk, as far as its file system can do that and lets it be opened."""
    try:
        sync_file(folder)
    except OSError as error:
        # Some network file systems have no such call, and there is nothing more to ask of them.
        if error.errno not in (errno.EINVAL, errno.ENOTSUP, errno.EACCES):
            raise


def sync_tree(folder: Path) -> None:
    """Wait until a folder and all that is in it is on the disk, before it gets the name that says that it is whole."""
    for path in [*folder.rglob("*"), folder]:
        (sync_folder if path.is_dir() else sync_file)(path)


def write_arrays(path: Path, arrays: Mapping[str, np.ndarray]) -> None:
    """Write arrays as `.npz`, whole or not at all."""
    # An archive that a full disk cuts short would complain once more when Python throws it away.
    content = io.BytesIO()
    np.savez(content, **arrays)
    with write_aside(path) as aside:
        aside.write_bytes(content.getbuffer())


def _as_input_error(path: Path, advice: str, error: Exception) -> InputError:
    reason = str(error).strip() or type(error).__name__
    return InputError(f"{path}: no arrays that NumPy can read ({reason.splitlines()[0][:200]}); {advice}")


def read_arrays(path: Path, advice: str) -> dict[str, np.ndarray]:
    """Read the arrays of a `.npz` file, by name; no code in it is run. An `InputError` ends with the advice."""
    require_regular_file(path)
    try:
        with np.load(path, allow_pickle=False) as stored:
            return {key: stored[key] for key in stored.files}
    except _NUMPY_ERRORS as error:
        raise _as_input_error(path, advice, error) from None


def map_array(path: Path, advice: str) -> np.memmap:
    """Map the array of a `.npy` file into memory; no code in it is run. Raises as `read_arrays`."""
    require_regular_file(path)
    try:
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except _NUMPY_ERRORS as error:
        raise _as_input_error(path, advice, error) from None
    if not isinstance(array, np.memmap):
        raise _as_input_error(path, advice, ValueError("an archive of arrays, where one array is expected"))
    return array


def is_leftover(name: str) -> bool:
    """Whether a file of this name may be what a killed process left of `write_aside`."""
    return bool(_LEFTOVER.fullmatch(name))


def remove_leftovers(folder: Path) -> None:
    """Remove what a killed process left of `write_aside`; the folder must be this process's, and may be missing."""
    for file in folder.glob(".*"):
        if is_leftover(file.name) and file.is_file() and not file.is_symlink():
            file.unlink()


def require_regular_file(path: Union[str, Path]) -> Path:
    """Refuse, by an OSError, a missing file, a folder, and a pipe, device or socket, which would be waited for."""
    mode = os.stat(path).st_mode
    if stat.S_ISDIR(mode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if not stat.S_ISREG(mode):
        raise OSError(errno.EINVAL, "a pipe, device or socket; give a regular file", os.fspath(path))
    return Path(path)


def walk_files(root: Union[str, Path]) -> list[Path]:
    """List the files in a folder and in its folders, sorted by path, hidden ones left out.

    Links to folders are followed, each real folder once. The files need not be readable, nor regular.
    """
    files = []
    seen = {_folder_key(parent) for parent in Path(os.path.realpath(root)).parents}
    waiting = deque([Path(root)])
    while waiting:
        folder = waiting.popleft()
        key = _folder_key(folder)
        if key in seen:
            continue
        seen.add(key)
        with os.scandir(folder) as entries:
            shown = sorted((entry for entry in entries if not entry.name.startswith(".")), key=lambda entry: entry.name)
        for entry in shown:
            if not entry.is_dir():
                files.append(folder / entry.name)
            elif entry.is_symlink():
                # After all real folders, so that a file is listed by its own path.
                waiting.append(folder / entry.name)
            else:
                waiting.appendleft(folder / entry.name)
    return sorted(files)


def _folder_key(folder: Path) -> tuple[int, int]:
    status = os.stat(folder)
    return status.st_dev, status.st_ino


@contextlib.contextmanager
def lock_folder(folder: Path, name: str = "lock", wait: bool = False) -> Iterator[None]:
    """Keep other processes out of a folder, made if missing, by a lock on the file `name`, whose content stays.

    Args:
        folder: the folder.
        name: of the file in it.
        wait: whether to wait for another process that has the lock; otherwise it is an InputError.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    try:
        lock = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o666)
    except OSError:
        if path.is_symlink() or (path.exists() and not path.is_file()):
            raise _no_lock(path) from None
        raise
    try:
        if not stat.S_ISREG(os.fstat(lock).st_mode):
            raise _no_lock(path)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            advice = "wait for that one, or choose another folder"
            raise InputError(f"{folder}: another process is at work in it; {advice}") from None
        yield
    finally:
        os.close(lock)


def _no_lock(path: Path) -> InputError:
    return InputError(f"{path}: a link, or no regular file, where only a lock of ddl_tf may be; move it away")


@contextlib.contextmanager
def as_os_errors(folder: Path) -> Iterator[None]:
    """Make errors of the operating system of what TensorFlow raises while it writes to a file or folder."""
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
