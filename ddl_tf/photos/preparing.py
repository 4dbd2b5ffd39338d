"""A folder of photos becomes a stored set of aligned faces."""

import dataclasses
import json
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Optional, Union

import numpy as np
import pandas as pd

import ddl_tf.photos
from ddl_tf.common.errors import InputError
from ddl_tf.common.partial_folder import discard
from ddl_tf.common.settings import setting
from ddl_tf.data.writer import StoreSettings, check_output, write_set
from ddl_tf.detection import DetectionSettings, Detector
from ddl_tf.detection.choice import AGREED, CHOICES, agreed_faces
from ddl_tf.importers import csv_source, folder_source
from ddl_tf.importers.source import Problem, Sample, Source
from ddl_tf.photos.finding import FACE_COLUMNS, GIVEN_LANDMARKS, PART_NAMES, PhotoFaces, find_faces

# Encoded aligned faces -> `[faces, dim]` of unit norm.
Embed = Callable[[Sequence[bytes]], np.ndarray]
# All faces that were found, and the pictures of those that were taken and left out.
FOUND, SHEETS = "photo_faces.parquet", ("taken.jpg", "left_out.jpg")


@dataclasses.dataclass
class PhotoStoreSettings(DetectionSettings, StoreSettings):
    """Which photos, how faces are found in them, and where they are stored."""

    root: Optional[str] = setting(
        None, "The folder of photos: with a folder for each person, or with --csv where its paths begin."
    )
    csv: Optional[str] = setting(
        None,
        "A CSV file of photos: columns path, identity, perhaps group, x1, y1, ..., x5, y5 (landmarks that another "
        "detector found: both eyes, nose, both corners of the mouth, that on the left of the image first, in pixels of "
        "the upright photo; then nothing is searched), and others.",
    )
    face: str = setting(
        "largest",
        "Which face of several is the person: the largest, the nearest to the centre of the photo, or the one that the "
        "person's other photos agree on (with --model).",
        choices=(*CHOICES, AGREED),
    )
    on_error: str = setting(
        "skip",
        "What to do about photos that cannot be read or have no usable face: leave them out, say why and count them, "
        "or stop at the first.",
        choices=("skip", "refuse"),
    )
    sheet_images: int = setting(60, "The most faces on each of the pictures of what was taken and what was left out.")


def prepare_photos(
    settings: PhotoStoreSettings, detector: Optional[Detector] = None, embed: Optional[Embed] = None
) -> dict[str, Any]:
    """Find, choose and align the faces of a folder of photos, and store them as a set.

    The faces that were found are kept in `<output>.faces` until the set is stored, so that an interrupted call, made
    again, goes on where it stopped, and gives the same bytes as an undisturbed one. `photo_faces.parquet` of the set
    has all faces that were found, those that were left out too; `taken.jpg` and `left_out.jpg` show some.

    Args:
        settings: which photos, and how.
        detector: another detector than MTCNN of the settings.
        embed: embeds encoded faces, for `face="agreed"`.

    Returns:
        The description of the set, as in its `dataset.json`.

    Raises:
        InputError: if there are no photos, none has a usable face, a setting is wrong, or the set is there already.
    """
    if settings.sheet_images < 1:
        raise InputError(f"--sheet_images={settings.sheet_images}: must be at least 1")
    if settings.face == AGREED and embed is None:
        raise InputError(f"--face={AGREED} needs a model that compares faces: give --model")
    output, source = check_output(settings), _photo_source(settings)
    if _has_landmarks(source):
        detector = None
    elif detector is None:
        detector = settings.detector()
    parts = output.with_name(f"{output.name}.faces")
    photos = find_faces(source, parts, detector, settings.rules())
    rows = _chosen(photos, settings.face, embed)
    source = dataclasses.replace(source, kind="photos", read=lambda start: _samples(photos, rows, start))
    table = photos.table.drop(columns=["own", *CHOICES])
    table["taken"] = np.isin(np.arange(len(table)), rows)
    sheets = zip(SHEETS, _sheets(photos, rows, settings.sheet_images))
    pictures = {name: figure.savefig for name, figure in sheets if figure is not None}
    description = write_set(source, settings, settings.on_error, {FOUND: table}, pictures)
    discard(parts, PART_NAMES)
    return description


def _photo_source(settings: PhotoStoreSettings) -> Source:
    if settings.csv:
        return csv_source(settings.csv, settings.root)
    if not settings.root:
        raise InputError("--root and --csv are missing: name the folder of photos, or a CSV file that lists them")
    return folder_source(settings.root)


def _has_landmarks(source: Source) -> bool:
    """Whether the photos come with landmarks: all of them, as columns are of all."""
    columns = next((item.columns for item in source.read(0) if isinstance(item, Sample)), {})
    missing = [name for name in GIVEN_LANDMARKS if name not in columns]
    if 0 < len(missing) < len(GIVEN_LANDMARKS):
        raise InputError(
            f"{source.name}: there is no column {missing[0]!r}; give all of x1, y1, ..., x5, y5, or none of them"
        )
    return not missing


def _chosen(photos: PhotoFaces, choice: str, embed: Optional[Embed]) -> np.ndarray:
    """The rows of the faces that are taken, one of each photo that has a usable face; ascending."""
    table = photos.table
    if choice in CHOICES:
        return np.flatnonzero(table[choice])
    rows = np.flatnonzero(table["largest"])
    usable = np.flatnonzero((table["face"] >= 0) & (table["refused"] == ""))
    people = table["identity"].iloc[usable]
    # Only where a photo of the person has several, and another photo can say which.
    counts = table.iloc[usable].groupby("identity")["photo"].agg(["size", "nunique"])
    unclear = counts.index[(counts["size"] > counts["nunique"]) & (counts["nunique"] > 1)]
    compared = usable[people.isin(unclear)]
    if not len(compared):
        return rows
    assert embed is not None
    embeddings = embed(list(photos.crops(compared)))
    taken = []
    for _, places in pd.Series(np.arange(len(compared))).groupby(table["identity"].iloc[compared].to_numpy()):
        mine = places.to_numpy()
        taken.append(compared[mine[agreed_faces(embeddings[mine], table["photo"].to_numpy()[compared[mine]])]])
    clear = rows[~table["identity"].iloc[rows].isin(unclear)]
    return np.sort(np.concatenate([clear, *taken]))


def _samples(photos: PhotoFaces, rows: np.ndarray, start: int) -> Iterator[Union[Sample, Problem]]:
    """The face of each photo, or why there is none, from a photo on."""
    table = photos.table
    photo, taken_photo = table["photo"].to_numpy(), table["photo"].to_numpy()[rows]
    usable = np.bincount(photo[(table["face"] >= 0) & (table["refused"] == "")], minlength=int(photo.max()) + 1)
    rows = rows[taken_photo >= start]
    crops = photos.crops(rows)
    row_of_photo = dict(zip(photo[rows].tolist(), rows.tolist()))
    # The first row of each photo says what there is to say of one without a usable face.
    for number, first in zip(*np.unique(photo, return_index=True)):
        if number < start:
            continue
        row = row_of_photo.get(int(number))
        record = table.iloc[first if row is None else row]
        if row is not None:
            columns = {name: float(record[name]) for name in FACE_COLUMNS}
            about = {"photo": record["file"] or record["source"], "photo_faces": int(usable[number])}
            source, key, group = record["source"], record["identity"], int(record["group"])
            yield Sample(next(crops), key, source, group, {**json.loads(record["own"]), **about, **columns})
        elif record["kind"]:
            yield Problem(record["kind"], record["source"], record["reason"])
        else:
            yield Problem("no usable face", record["source"], f"the surest is {record['refused']}")


def _sheets(photos: PhotoFaces, rows: np.ndarray, most: int) -> Iterator[Any]:
    """The pictures of faces that were taken, and of those that were not; None where there are none."""
    table = photos.table
    left_out = np.setdiff1d(np.flatnonzero(table["face"] >= 0), rows)
    why = table["refused"].where(table["refused"] != "", "not the person")
    for chosen, first_line in ((rows, table["identity"]), (left_out, why)):
        # Spread over all, in their order.
        shown = chosen[np.unique(np.linspace(0, len(chosen) - 1, min(most, len(chosen))).astype(int))]
        measured = table.iloc[shown]
        second_line = [f"{score:.2f}, {round(yaw)}°" for score, yaw in zip(measured["face_score"], measured["yaw"])]
        captions = first_line.iloc[shown].map(str).tolist(), second_line
        yield ddl_tf.photos.sheets.face_sheet(list(photos.crops(shown)), *captions) if len(shown) else None
