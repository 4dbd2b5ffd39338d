"""Images in files: a folder per identity, or listed in a CSV file."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Optional, Union

import numpy as np
import pandas as pd

from ddl_tf.data.sample import Sample
from ddl_tf.data.source import Problem, Source
from ddl_tf.data.tables import read_csv, rows_of, take_groups
from ddl_tf.errors import InputError


def _read_file(path: Path, place: str) -> Union[bytes, Problem]:
    try:
        return path.read_bytes()
    except OSError as error:
        return Problem("missing file", place, f"{path}: {error.strerror}")


def folder_source(root: str) -> Source:
    """Open a folder of images per identity, such as LFW.

    Every file in an identity's folder, and in folders in it, is taken for an image; hidden files are left out.

    Args:
        root: the folder that holds the identities' folders.

    Returns:
        The samples, by name of the folder and path of the file.

    Raises:
        InputError: if there is no such folder, or no folder in it.
    """
    if not Path(root).is_dir():
        raise InputError(f"{root}: no such folder; give one that holds a folder of images per identity")
    entries = sorted(entry for entry in Path(root).iterdir() if not entry.name.startswith("."))
    identities = [entry.name for entry in entries if entry.is_dir()]
    if not identities:
        raise InputError(f"{root}: there are no folders in it; give one that holds a folder of images per identity")
    files = [path for entry in entries for path in (_files(entry) if entry.is_dir() else [entry])]

    def sample(path: Path) -> Union[Sample, Problem]:
        parts = path.relative_to(root).parts
        if len(parts) == 1:
            return Problem("stray file", str(path), "it is in no identity's folder")
        image = _read_file(path, str(path))
        return image if isinstance(image, Problem) else Sample(image, parts[0], str(path))

    def read(start: int) -> Iterator[Union[Sample, Problem]]:
        return map(sample, files[start:])

    return Source("folder", root, len(files), read, identities)


def _files(folder: Path) -> list[Path]:
    return sorted(
        Path(inside) / name
        for inside, _, names in os.walk(folder, followlinks=True)
        for name in names
        if not name.startswith(".")
    )


def csv_source(csv: str, root: Optional[str] = None) -> Source:
    """Open images that a CSV file lists.

    Args:
        csv: the file, with the columns `path` and `identity`, perhaps `group`, and further columns for the index of the
            stored set.
        root: the folder that the paths begin at; by default that of the CSV file.

    Returns:
        The samples, in the order of the lines.

    Raises:
        InputError: if the CSV file cannot be read, or a group is no group.
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
        image = _read_file(base / path, place)
        if isinstance(image, Problem):
            return image
        return Sample(image, identity, f"{place} ({path})", int(groups[row]), columns(row))

    def read(start: int) -> Iterator[Union[Sample, Problem]]:
        return map(sample, range(start, len(paths)))

    return Source("csv", csv, len(paths), read, [key for key in pd.unique(identities) if key])
