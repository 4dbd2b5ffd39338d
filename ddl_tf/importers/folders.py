"""Images in files: a folder per identity, or listed in a CSV file."""

import sys
from pathlib import Path
from typing import Optional, Union

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import walk_files
from ddl_tf.common.text import is_unicode, visible
from ddl_tf.importers.csv_files import read_csv, rows_of, take_groups
from ddl_tf.importers.image_files import read_sample
from ddl_tf.importers.source import Problem, Sample, Source, listed_source


def folder_source(root: str) -> Source:
    """Open a folder of images per identity, such as LFW; an `InputError` if there is none, or no folder in it.

    Every file in an identity's folder, and in folders in it, is taken for an image; hidden ones are left out. Links to
    folders are followed, each folder once. Names that are not UTF-8 come first, as problems.

    Args:
        root: the folder that holds the identities' folders.

    Returns:
        The samples, by name of the folder and path of the file.
    """
    if not Path(root).is_dir():
        raise InputError(f"{root}: no such folder; give one that holds a folder of images per identity")

    def is_named(path: Path) -> bool:
        return is_unicode(str(path.relative_to(root)))

    entries = sorted(entry for entry in Path(root).iterdir() if not entry.name.startswith("."))
    identities = [entry.name for entry in entries if entry.is_dir()]
    if not identities:
        raise InputError(f"{root}: there are no folders in it; give one that holds a folder of images per identity")
    files = [path for entry in entries for path in (walk_files(entry) if entry.is_dir() else [entry])]
    # A name that cannot be stored is told before the work, not after it.
    files.sort(key=is_named)
    _warn_of_nested(root, identities, files)

    def sample(path: Path) -> Union[Sample, Problem]:
        parts = path.relative_to(root).parts
        if not is_named(path):
            return Problem("file name", visible(str(path)), "it is not UTF-8; rename it")
        if len(parts) == 1:
            return Problem("stray file", str(path), "it is in no identity's folder")
        return read_sample(path, str(path), parts[0], str(path))

    return listed_source(
        "folder", root, files, sample, [name for name in identities if is_unicode(name)], lambda: files
    )


def _warn_of_nested(root: str, identities: list[str], files: list[Path]) -> None:
    """Tell of a root that is probably one level too high: all photos of several people would be one identity's."""
    depths = [len(path.relative_to(root).parts) for path in files]
    if max(depths, default=0) > 2 and (len(identities) == 1 or 2 not in depths):
        what = f"one identity, {visible(identities[0])}" if len(identities) == 1 else f"{len(identities):,} identities"
        what += ", whose images lie in folders of that folder; if those are the people, give the folder that holds them"
        print(f"{visible(root)}: {what} as --root", file=sys.stderr)


def csv_source(csv: str, root: Optional[str] = None) -> Source:
    """Open images that a CSV file lists; an `InputError` if it cannot be read, or a group is no group.

    Args:
        csv: the file: columns `path` and `identity`, perhaps `group`, and further ones for the stored index.
        root: the folder that the paths begin at; by default that of the CSV file.

    Returns:
        The samples, in the order of the lines.
    """
    file = Path(csv)
    base = Path(root) if root else file.parent
    table = read_csv(file, ["path", "identity"])
    groups = take_groups(file, table)
    paths, identities = (table.cells.pop(name).array for name in ("path", "identity"))
    columns = rows_of(table)
    _, first_row, path_number = np.unique(pd.factorize(paths)[0], return_index=True, return_inverse=True)
    first_line = table.lines[first_row[path_number]]

    def sample(row: int) -> Union[Sample, Problem]:
        path, identity, line = paths[row], identities[row], table.lines[row]
        place = f"{csv}, line {line}"
        if not path or not identity:
            return Problem("missing value", place, f"no {'identity' if path else 'path'}")
        if first_line[row] != line:
            return Problem("duplicate", place, f"{path} is in line {first_line[row]} too")
        return read_sample(base / path, place, identity, f"{place} ({path})", int(groups[row]), columns(row))

    keys = [key for key in pd.unique(identities) if key]
    return listed_source("csv", csv, range(len(paths)), sample, keys, lambda: (base / path for path in paths))
