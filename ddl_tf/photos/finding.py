"""The faces of many photos, found in parts that an interrupted command goes on from."""

import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from PIL import Image

import ddl_tf
from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.partial_folder import open_partial
from ddl_tf.common.progress import Progress
from ddl_tf.detection import Detector, FaceRules, PhotoFace, landmark_face, photo_faces
from ddl_tf.detection.choice import CHOICES, choose_face
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.images.pose import LANDMARK_COLUMNS
from ddl_tf.importers.source import Problem, Sample, Source

# Photos that are searched between two points that an interrupted command goes on from, and their files.
PART, PART_NAMES = 256, r"part-\d{5,}\.parquet"
BOX_COLUMNS = ("box_left", "box_top", "box_right", "box_bottom")
# What is stored of each face.
FACE_COLUMNS = (*BOX_COLUMNS, *LANDMARK_COLUMNS, "face_score", "eye_distance_px", "yaw", "pitch", "roll")
# What is stored of its photo.
PHOTO_COLUMNS = ("photo", "photo_faces")
# Landmarks that a CSV file gives, as those of `ddl_tf.gallery`.
GIVEN_LANDMARKS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")


def find_faces(source: Source, folder: Path, detector: Optional[Detector], rules: FaceRules) -> "PhotoFaces":
    """Find the faces of all photos of a source.

    Args:
        source: the photos; with columns `x1` to `y5` the face of each is that of these landmarks.
        folder: for the parts; whoever uses the result removes them by `discard`.
        detector: finds the faces; None where all photos have landmarks.
        rules: which faces are usable.

    Raises:
        InputError: if the folder holds parts of something else, another process is at work in it, or a column of the
            photos has the name of a measured one.
    """
    starts = range(0, source.count, PART)
    record = {
        "ddl_tf": ddl_tf.__version__,
        "photos": [source.kind, source.name, source.count],
        # A part knows its photos by their place in the list.
        "files": _files_digest(source.files()),
        "detector": detector.name if detector else "landmarks",
        "rules": [rules.least_score, rules.least_side, rules.photo_side],
    }

    def search(item: Union[Sample, Problem]) -> list[dict[str, Any]]:
        return _search(item, detector, rules)

    with open_partial(folder, record, PART_NAMES):
        files = [folder / f"part-{number:05d}.parquet" for number in range(len(starts))]
        left = [number for number, file in enumerate(files) if not file.exists()]
        done = sum(min(PART, source.count - start) for file, start in zip(files, starts) if file.exists())
        with Progress("find faces", source.count, done, unit="photo") as progress:
            for number in left:
                start = starts[number]
                count = min(PART, source.count - start)
                items = (item for _, item in zip(range(count), source.read(start)))
                rows: list[dict[str, Any]] = []
                # Of one photo each: its file may have tens of megabytes.
                for place, faces in enumerate(map_in_order(search, items, 1)):
                    rows += [{"photo": start + place, **face} for face in faces]
                    progress.advance()
                with write_aside(files[number]) as aside:
                    pd.DataFrame(rows).to_parquet(aside, index=False)
    return PhotoFaces(files, list(map(str, source.identities or ())))


def _files_digest(files: Iterable[Path]) -> str:
    """Identify files by their names, sizes and times of change; one that is missing has none."""
    digest = hashlib.sha256()
    for file in files:
        try:
            state = os.stat(file)
            known = f"{state.st_size} {state.st_mtime_ns}"
        except (OSError, ValueError):  # ValueError: of a path with NUL
            known = "missing"
        digest.update(os.fsencode(file) + f" {known}\n".encode())
    return digest.hexdigest()


def _search(item: Union[Sample, Problem], detector: Optional[Detector], rules: FaceRules) -> list[dict[str, Any]]:
    """The rows of a photo: one for each face, or one that says why there is none."""
    if isinstance(item, Problem):
        return [_row(item)]
    given = [item.columns[name] for name in GIVEN_LANDMARKS if name in item.columns]
    if taken := [name for name in item.columns if name in (*FACE_COLUMNS, *PHOTO_COLUMNS)]:
        raise InputError(f"{item.source}: there is a column {taken[0]!r}, which is measured here; rename it")
    try:
        if given:
            landmarks = np.array(given, np.float64).reshape(5, 2)
            if not np.isfinite(landmarks).all():
                return [_row(item, Problem("no landmarks", item.source, "one of x1 to y5 is no number"))]
            faces = [landmark_face(item.image, landmarks, rules)]
        else:
            assert detector is not None
            faces = photo_faces(item.image, detector, rules)
    except ValueError as error:
        if isinstance(error, InputError):
            raise
        return [_row(item, Problem("corrupt image", item.source, str(error)))]
    if not faces:
        return [_row(item, Problem("no face", item.source, "no face was found in it"))]
    chosen = {choice: choose_face(faces, choice) for choice in CHOICES}
    return [
        {
            **_row(item),
            **face_columns(face),
            "face": number,
            "refused": face.refused,
            **{choice: chosen[choice] == number for choice in CHOICES},
            "crop": encode_jpeg(Image.fromarray(face.crop)),
        }
        for number, face in enumerate(faces)
    ]


def face_columns(face: PhotoFace) -> dict[str, float]:
    """The measures of a face by name, those of `FACE_COLUMNS`."""
    values = (*face.box.tolist(), *face.landmarks.ravel().tolist(), face.score, face.eye_distance_px, *face.pose)
    return dict(zip(FACE_COLUMNS, values))


def _row(item: Union[Sample, Problem], problem: Optional[Problem] = None) -> dict[str, Any]:
    """What a row tells of its photo, and no face."""
    problem = item if isinstance(item, Problem) else problem
    sample = item if isinstance(item, Sample) else Sample(b"", "", item.source)
    own = {name: value for name, value in sample.columns.items() if name not in GIVEN_LANDMARKS}
    return {
        "source": sample.source,
        "file": sample.file,
        "group": sample.group,
        "identity": str(sample.identity),
        # As text: each value keeps its type.
        "own": json.dumps(own),
        "kind": problem.kind if problem else "",
        "reason": problem.reason if problem else "",
        **{"face": -1, "refused": "", **dict.fromkeys(CHOICES, False), "crop": b""},
        **dict.fromkeys(FACE_COLUMNS, np.nan),
    }


class PhotoFaces:
    """The faces that were found, in parts on the disk.

    Attributes:
        table: a row for each face, or of a photo without one: `photo` (its number), `face` (-1 without one), `source`,
            `file`, `identity`, `group`, `own` (the columns that came with the photo, JSON), `kind` and `reason` of a
            problem, `refused`, a column for each of `CHOICES` (whether it is the photo's), and `FACE_COLUMNS`.
        identities: the keys of all identities.
    """

    def __init__(self, files: list[Path], identities: list[str]) -> None:
        self._files, self.identities = files, identities
        self.table = pd.concat([self._read(file) for file in files], ignore_index=True) if files else pd.DataFrame()

    @staticmethod
    def _read(file: Path) -> pd.DataFrame:
        return pq.read_table(file, columns=[name for name in pq.read_schema(file).names if name != "crop"]).to_pandas()

    def crops(self, rows: np.ndarray) -> Iterator[bytes]:
        """Yield the encoded faces of some rows of the table, ascending; a part at a time is in memory."""
        part_of_row = self.table["photo"].to_numpy() // PART
        rows = np.asarray(rows)
        for part in np.unique(part_of_row[rows]).tolist():
            chosen = rows[part_of_row[rows] == part]
            column = pq.read_table(self._files[part], columns=["crop"])["crop"]
            first = int(np.searchsorted(part_of_row, part))
            yield from (column[int(row) - first].as_py() for row in chosen)
