"""A folder that is filled aside, by one process at a time, and moved to its place when it is whole."""

import contextlib
import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from ddl_tf.errors import InputError
from ddl_tf.files import lock_folder, sync_folder, write_aside

_LOCK, _RECORD = "lock", "settings.json"


def partial_path(output: Path) -> Path:
    """Tell where a folder is filled."""
    return output.with_name(output.name + ".partial")


@contextlib.contextmanager
def claim(partial: Path, record: dict[str, Any]) -> Iterator[None]:
    """Take a partial folder for this process: a new one, or one that was left with the same record.

    Args:
        partial: the folder; it is made if it is missing.
        record: all that its content will follow from, as JSON takes it.

    Yields:
        Nothing; the folder is this process's until the end of the block.

    Raises:
        InputError: if another process has it, or it was begun with another record.
    """
    with lock_folder(partial, _LOCK):
        file = partial / _RECORD
        if file.exists():
            _compare(partial, json.loads(file.read_text()), json.loads(json.dumps(record)))
        else:
            with write_aside(file) as aside:
                aside.write_text(json.dumps(record))
        yield


def _compare(partial: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    for name in {**before, **now}:
        if before.get(name) != now.get(name):
            raise InputError(
                f"{partial} holds unfinished work with {name}={before.get(name)}, this one has "
                f"{name}={now.get(name)}: run it with the former to finish it, or remove that folder to begin anew"
            )


def publish(partial: Path, output: Path, keep: set[str]) -> None:
    """Move a filled folder to its place; what is there goes when the new one has come.

    Args:
        partial: the folder that was filled.
        output: where it shall be.
        keep: the names of its files; all others are removed.
    """
    # The record goes last: until the folder has its name, an interrupted publishing can be taken up again.
    for file in partial.iterdir():
        if file.name not in keep | {_LOCK, _RECORD}:
            file.unlink()
    # What is in the folder has its names on the disk before the folder has its own.
    sync_folder(partial)
    replaced = output.with_name(output.name + ".replaced")
    if replaced.exists():
        shutil.rmtree(replaced)
    if output.exists():
        os.rename(output, replaced)
    os.rename(partial, output)
    sync_folder(output.parent)
    for name in (_LOCK, _RECORD):
        (output / name).unlink()
    if replaced.exists():
        shutil.rmtree(replaced)
