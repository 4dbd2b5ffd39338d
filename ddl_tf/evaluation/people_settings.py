"""A set of people from settings: stored sets, a folder of faces or of photos, with columns of CSV files."""

import contextlib
import dataclasses
import json
import os
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import walk_files, write_aside
from ddl_tf.common.settings import refuse_ignored, setting
from ddl_tf.detection import DetectionSettings
from ddl_tf.detection.choice import CHOICES
from ddl_tf.evaluation.people import PeopleProtocol
from ddl_tf.evaluation.session import EvaluationSettings
from ddl_tf.importers.csv_files import read_csv
from ddl_tf.importers.image_files import fingerprint_files
from ddl_tf.photos.preparing import PhotoStoreSettings, prepare_photos
from ddl_tf.protocols.people_set import PeopleSet, folder_people, stored_people

# In the folder of a set of --store: the faces that were found, and what they follow from.
FACES, FOUND_IN = "faces", "faces.json"


@dataclasses.dataclass
class PeopleSettings(PeopleProtocol, DetectionSettings, EvaluationSettings):
    """Flags of `people`."""

    data: list[str] = setting([], "Stored sets of `python -m ddl_tf.prepare`, comma-separated; or --root.")
    root: Optional[str] = setting(
        None, "A folder that holds a folder of aligned faces for each person, or with --detect of photos; or --data."
    )
    detect: bool = setting(
        False,
        "Find and align the faces of the photos in --root. With --store they are kept, and used again; for several "
        "models run `prepare photos` once, and give --data.",
    )
    face: str = setting(
        "largest",
        "With --detect: which face of several is the person; `prepare photos` has a further choice.",
        choices=CHOICES,
    )
    columns: list[str] = setting(
        [],
        "CSV files with further columns for --by, of people (column `person`) or of images (column `key`, as "
        "--list_images names them).",
    )


@contextlib.contextmanager
def open_people(settings: PeopleSettings) -> Iterator[PeopleSet]:
    """Open the set of people that settings name; its images can be read as long as the block lasts."""
    if bool(settings.data) == bool(settings.root):
        given = (
            f"--data={','.join(settings.data)} and --root={settings.root} together" if settings.root else "no people"
        )
        raise InputError(
            f"{given}: give --data (stored sets), or --root (a folder of faces for each person; of photos: --detect)"
        )
    if settings.detect and not settings.root:
        raise InputError("--detect finds faces in the photos of --root; the faces of --data are found already")
    found = [field.name for field in dataclasses.fields(DetectionSettings)]
    refuse_ignored(settings, [*found, "face"], settings.detect, "--detect")
    with contextlib.ExitStack() as stack:
        if not settings.root:
            faces = stored_people(settings.data)
        elif not settings.detect:
            faces = folder_people(settings.root)
        elif settings.store:
            faces = _detected_people(settings, Path(settings.store) / _name(settings.root))
        else:
            faces = _detected_people(settings, Path(stack.enter_context(tempfile.TemporaryDirectory())))
        yield add_columns(faces, settings.columns)


def _name(root: str) -> str:
    return os.path.basename(os.path.abspath(root))


def _detected_people(settings: PeopleSettings, folder: Path) -> PeopleSet:
    """Find the faces of photos, store them in a folder, and open that set; faces of the same photos are used again."""
    root, output = str(settings.root), folder / FACES
    store = PhotoStoreSettings(root=root, output=str(output), face=settings.face)
    for field in dataclasses.fields(DetectionSettings):
        setattr(store, field.name, getattr(settings, field.name))
    files = walk_files(root) if Path(root).is_dir() else []
    names = json.dumps([os.fspath(file) for file in files])
    record = {**dataclasses.asdict(store), "output": "", "photos": fingerprint_files(files, names.encode())}
    found_in = folder / FOUND_IN
    try:
        known = json.loads(found_in.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        known = None
    if known != record or not output.exists():
        if output.exists() and not found_in.is_file():
            raise InputError(f"{output} is in the way, and not of this command; move it, or choose another --store")
        # Faces of other photos, or found otherwise, are replaced when the new ones are there.
        prepare_photos(dataclasses.replace(store, overwrite=True))
        with write_aside(found_in) as aside:
            aside.write_text(json.dumps(record), encoding="utf-8")
    return dataclasses.replace(stored_people([str(output)]), name=_name(root))


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
