"""A set of people from settings: stored sets, or a folder of faces, with columns of CSV files."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.settings import setting
from ddl_tf.evaluation.people import Benchmark, PeopleProtocol, make_benchmark
from ddl_tf.evaluation.session import EvaluationSettings
from ddl_tf.importers.csv_files import read_csv
from ddl_tf.protocols.people_set import PeopleSet, folder_people, stored_people


@dataclasses.dataclass
class PeopleSettings(PeopleProtocol, EvaluationSettings):
    """Flags of `people`."""

    data: list[str] = setting([], "Stored sets of `python -m ddl_tf.prepare`, comma-separated; or --root.")
    root: Optional[str] = setting(None, "A folder that holds a folder of aligned faces for each person; or --data.")
    columns: list[str] = setting(
        [],
        "CSV files with further columns for --by, of people (column `person`) or of images (column `key`, as "
        "--list_images names them).",
    )


def read_benchmark(settings: PeopleSettings) -> Benchmark:
    """Open the set of people that settings name, and draw its pairs and splits."""
    if bool(settings.data) == bool(settings.root):
        given = (
            f"--data={','.join(settings.data)} and --root={settings.root} together" if settings.root else "no people"
        )
        raise InputError(f"{given}: give --data (stored sets), or --root (a folder of aligned faces for each person)")
    faces = folder_people(settings.root) if settings.root else stored_people(settings.data)
    return make_benchmark(add_columns(faces, settings.columns), settings)


def add_columns(faces: PeopleSet, paths: Sequence[str]) -> PeopleSet:
    """Add the columns of CSV files to a set: of images by the column `key`, or of people by `person`."""
    columns = faces.columns.reset_index(drop=True)
    for path in paths:
        table = read_csv(Path(path), [], text=["key", "person"]).cells
        by = [name for name in ("key", "person") if name in table]
        if len(by) != 1:
            has = ", ".join(map(str, table)) or "nothing"
            raise InputError(f"{path}: has the columns {has}; one of `key` and `person` must say whose a row is")
        names = pd.Series(faces.keys if by == ["key"] else faces.people.astype(object))
        doubled = table[by[0]][table[by[0]].duplicated()]
        if len(doubled):
            raise InputError(f"{path}: the {by[0]} {doubled.iloc[0]!r} is there twice; give each once")
        known = np.isin(names, table[by[0]])
        if not known.any():
            raise InputError(
                f"{path}: no {by[0]} of it is in the set, which has {names.iloc[0]!r} and others; see --list_images"
            )
        further = table.set_index(by[0]).reindex(names).reset_index(drop=True)
        columns = pd.concat([columns.drop(columns=[name for name in further if name in columns]), further], axis=1)
    return dataclasses.replace(faces, columns=columns)
