"""A folder that is filled aside, by one process at a time, and moved to its place when it is whole."""

import contextlib
import json
import os
import re
import sys
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import is_leftover, lock_folder, sync_folder, write_aside

_LOCK, _RECORD = "lock", "settings.json"
# Tells a folder that was renamed to be replaced from one that happens to have such a name.
_REPLACED_MARK = ".replaced"


def partial_path(output: Path) -> Path:
    """Tell where a folder is filled."""
    return output.with_name(output.name + ".partial")


@contextlib.contextmanager
def open_partial(partial: Path, record: dict[str, Any], names: str) -> Iterator[None]:
    """Take a partial folder for this process until the end of the block: a new one, or one left with the same record.

    The record is all that its content follows from, as JSON takes it; files that match `names` are of the work.
    """
    _refuse_foreign(partial, names)
    with lock_folder(partial, _LOCK):
        file = partial / _RECORD
        if file.exists():
            try:
                before, now = json.loads(file.read_text()), json.loads(json.dumps(record))
            except (ValueError, RecursionError):
                before = None
            if not isinstance(before, dict):
                raise InputError(f"{file}: not the record of unfinished work; move the folder away")
            for name in {**before, **now}:
                if before.get(name) != now.get(name):
                    differs = f"with {name}={before.get(name)}, this one has {name}={now.get(name)}"
                    advice = "run it with the former to finish it, or remove that folder to begin anew"
                    raise InputError(f"{partial} holds unfinished work {differs}: {advice}")
        else:
            # Without the record, no file is known to be of this work.
            _refuse_foreign(partial, "")
            with write_aside(file) as aside:
                aside.write_text(json.dumps(record))
        yield


def _is_of_work(entry: Path, names: str) -> bool:
    known = entry.name in (_LOCK, _RECORD) or is_leftover(entry.name) or re.fullmatch(names, entry.name)
    return bool(known) and entry.is_file() and not entry.is_symlink()


def _refuse_foreign(partial: Path, names: str) -> None:
    """Refuse a folder with anything in it that this work would not have made, such as links to other places."""
    for entry in partial.iterdir() if partial.is_dir() else ():
        if not _is_of_work(entry, names):
            what = f"is needed for unfinished work, and holds {entry.name!r}, which is not of it"
            raise InputError(f"{partial} {what}: move that folder away, or choose another output")


def discard(partial: Path, names: str) -> None:
    """Remove the files of finished work (`names` as for `open_partial`), and their folder if nothing else is in it."""
    for entry in sorted(partial.iterdir()):
        if _is_of_work(entry, names):
            entry.unlink()
    _remove_empty(partial, "work")


def _remove_empty(folder: Path, owner: str) -> None:
    try:
        folder.rmdir()
    except OSError:
        print(f"{folder}: kept, it holds what was not of the {owner}", file=sys.stderr)


def check_replaceable(output: Path) -> None:
    """Refuse to replace a folder where somebody else's is at the place that it is moved to meanwhile."""
    replaced = output.with_name(f"{output.name}.replaced")
    empty = _is_folder(replaced) and not any(replaced.iterdir())
    if os.path.lexists(replaced) and not (_is_replaced(replaced) or empty):
        raise InputError(f"{replaced} is in the way, and no earlier command left it: move it, or choose another output")


def _is_replaced(folder: Path) -> bool:
    return not folder.is_symlink() and (folder / _REPLACED_MARK).is_file()


def _is_folder(path: Path) -> bool:
    return path.is_dir() and not path.is_symlink()


def publish(partial: Path, output: Path, keep: Collection[str], names: str, replaced_files: Collection[str]) -> None:
    """Move a filled folder to its place, with the files `keep`; others of `names` were for the work only, and go.

    Of a folder that is replaced only the `replaced_files` go; whatever else is in it moves to the new one.
    """
    # The record goes last: until the folder has its name, an interrupted publishing can be taken up again.
    for file in partial.iterdir():
        if file.name not in keep and (re.fullmatch(names, file.name) or is_leftover(file.name)):
            file.unlink()
    # Its names are on the disk before it has its own.
    sync_folder(partial)
    replaced = output.with_name(f"{output.name}.replaced")
    if output.exists():
        check_replaceable(output)
        _remove_replaced(replaced, output)
        with write_aside(output / _REPLACED_MARK) as aside:
            aside.write_text(json.dumps(sorted({*replaced_files, _LOCK, _RECORD})))
        os.rename(output, replaced)
    os.rename(partial, output)
    sync_folder(output.parent)
    for name in (_LOCK, _RECORD):
        (output / name).unlink()
    _remove_replaced(replaced, output)


def _remove_replaced(replaced: Path, output: Path) -> None:
    """Remove a folder that was replaced; what was not of it moves to the one in its place, as far as that has room."""
    if not _is_replaced(replaced):
        return
    mark = replaced / _REPLACED_MARK
    known = json.loads(mark.read_text())
    for entry in sorted(replaced.iterdir()):
        if (entry.name in known or is_leftover(entry.name)) and not _is_folder(entry):
            entry.unlink()
        elif entry != mark and not os.path.lexists(output / entry.name):
            os.rename(entry, output / entry.name)
    mark.unlink()
    _remove_empty(replaced, "set")
