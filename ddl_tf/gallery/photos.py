"""Photos of faces in folders or listed in a CSV file, and what a network takes of them."""

import dataclasses
import io
import os
import stat
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np
import pandas as pd
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import walk_files
from ddl_tf.common.text import is_unicode, visible
from ddl_tf.images.alignment import align_face
from ddl_tf.images.pillow_images import MAX_PIXELS, encode_png, load_image, to_rgb, upright_bytes, why_undecodable
from ddl_tf.images.template import TEMPLATE_SIZE
from ddl_tf.importers.csv_files import read_csv
from ddl_tf.importers.source import Problem

# Both eyes, nose, both corners of the mouth; that on the left of the image first.
LANDMARK_COLUMNS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")


@dataclasses.dataclass(frozen=True)
class FaceBox:
    """Where a face was found: its number in the photo, its box in pixels of the upright photo, the detector's score."""

    number: int
    left: float
    top: float
    right: float
    bottom: float
    score: float

    @property
    def side(self) -> float:
        """The shorter side in pixels."""
        return min(self.right - self.left, self.bottom - self.top)


@dataclasses.dataclass(frozen=True)
class Photo:
    """A file with a face: an aligned one, one with landmarks `[5, 2]` x, y of the upright image, or one found in it.

    `quality` holds the values of an `EnrolmentQuality`, where that was measured.
    """

    path: str
    person: str = ""
    landmarks: Optional[np.ndarray] = None
    box: Optional[FaceBox] = None
    quality: tuple[float, ...] = ()

    @property
    def name(self) -> str:
        """What it is called where people read it: the path, and the number of the face if it was found."""
        return self.path if self.box is None else f"{self.path} #{self.box.number}"


def folder_photos(root: str, of_people: bool) -> list[Union[Photo, Problem]]:
    """List the photos in a folder, with `of_people` of folders of people: all files but hidden ones."""
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{root}: no such folder; give one that holds images{' in folders of people' * of_people}")
    files = walk_files(folder)
    if not files:
        raise InputError(f"{root}: there are no files in it; give a folder of images")

    def photo(file: Path) -> Union[Photo, Problem]:
        path = os.path.abspath(file)
        if not is_unicode(path):
            return _bad_name(path)
        parts = file.relative_to(folder).parts
        if of_people and len(parts) == 1:
            return Problem("stray file", str(file), "it is in no person's folder")
        if not os.path.isfile(path):
            return Problem("no file", path, "it is a pipe, a socket, a device, or a link to nothing")
        return Photo(path, parts[0] if of_people else "")

    return [photo(file) for file in files]


def _bad_name(path: str) -> Problem:
    return Problem("file name", visible(path), "the name is no UTF-8; rename it")


def csv_photos(csv: str, of_people: bool) -> list[Union[Photo, Problem]]:
    """List the photos of a CSV file: column `path`, with `of_people` `person`, perhaps the landmarks `x1` to `y5`."""
    file = Path(csv)
    table = read_csv(file, ["path", "person"] if of_people else ["path"])
    missing = [name for name in LANDMARK_COLUMNS if name not in table.cells]
    if 0 < len(missing) < len(LANDMARK_COLUMNS):
        raise InputError(f"{csv}: there is no column {missing[0]!r}; give all of x1, y1, ..., x5, y5, or none of them")
    landmarks: Optional[np.ndarray] = None
    if not missing:
        columns = [pd.to_numeric(table.cells[name], errors="coerce") for name in LANDMARK_COLUMNS]
        landmarks = np.stack(columns, axis=1).astype(np.float64).reshape(-1, 5, 2)
    paths = table.cells["path"].tolist()
    people = table.cells["person"].tolist() if of_people else [""] * len(paths)

    def photo(row: int) -> Union[Photo, Problem]:
        place = f"{csv}, line {table.lines[row]}"
        if not paths[row] or (of_people and not people[row]):
            return Problem("missing value", place, f"no {'person' if paths[row] else 'path'}")
        points = None if landmarks is None else landmarks[row]
        if points is not None and not np.isfinite(points).all():
            return Problem("no landmarks", f"{place} ({paths[row]})", "one of x1 to y5 is no number")
        path = os.path.abspath(file.parent / paths[row])
        return Photo(path, people[row], points) if is_unicode(path + people[row]) else _bad_name(path)

    return [photo(row) for row in range(len(paths))]


def read_photo(path: str) -> Union[bytes, Problem]:
    """Read a file, or say why it cannot be read."""
    try:
        # Asked first: to open a pipe waits for somebody who writes.
        if not stat.S_ISREG(os.stat(path).st_mode):
            return Problem("no file", path, "it is a folder, a pipe, a socket or a device")
        return Path(path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: of a path with NUL
        return Problem("missing file", path, getattr(error, "strerror", None) or str(error))


def face_bytes(
    photo: Photo, size: tuple[int, int], why_refused: Callable[[bytes], Optional[str]] = why_undecodable
) -> Union[bytes, Problem]:
    """Read a photo as the encoded image that a network's input of `size` (height, width) is made of.

    With landmarks, of the upright image, the face is aligned: at 112 px, as the faces of training sets are, or at the
    network's size if that is larger. Aligned faces that are JPEG or PNG files stay as they are, but for EXIF's turn;
    `why_refused` says why the model's decoder would not take one, None if it does.
    """
    encoded = read_photo(photo.path)
    if isinstance(encoded, Problem):
        return encoded
    try:
        with Image.open(io.BytesIO(encoded)) as header:
            pixels, kind = header.width * header.height, header.format
    except Exception as error:  # on damaged files Pillow raises nearly anything
        reason = str(error)
        try:
            load_image(encoded)
        except ValueError as better:  # it has words for an empty or a foreign file
            reason = str(better)
        return Problem("corrupt image", photo.path, reason)
    if pixels > MAX_PIXELS:
        return Problem("too large", photo.path, f"{pixels:,} pixels, where {MAX_PIXELS:,} are read; make it smaller")
    if photo.landmarks is None and kind in ("JPEG", "MPO", "PNG"):
        damage = why_refused(encoded)
        return upright_bytes(encoded) if damage is None else Problem("corrupt image", photo.path, damage)
    try:
        image = to_rgb(load_image(encoded))
    except ValueError as error:
        return Problem("corrupt image", photo.path, str(error))
    if photo.landmarks is None:
        return encode_png(image)
    try:
        return encode_png(Image.fromarray(align_face(image, photo.landmarks, max(TEMPLATE_SIZE, *size))))
    except InputError as error:
        return Problem("bad landmarks", photo.path, str(error))


def split_problems(items: Sequence[Union[Photo, Problem]]) -> tuple[list[Photo], list[Problem]]:
    """Split a list into photos and problems, each in order."""
    photos = [item for item in items if isinstance(item, Photo)]
    return photos, [item for item in items if isinstance(item, Problem)]
