"""Photos of faces in folders or listed in a CSV file, brought to the form that a network takes, and embedded."""

import dataclasses
import io
import os
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Optional, Union

import numpy as np
import pandas as pd
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import walk_files
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.common.text import is_unicode, visible
from ddl_tf.evaluation.embed import add_views, predict_embeddings
from ddl_tf.evaluation.embedding_file import fingerprint
from ddl_tf.evaluation.model import is_exported, load_embedding_model, model_file
from ddl_tf.gallery.store import ModelRecord
from ddl_tf.images.alignment import align_face
from ddl_tf.images.decoding import why_undecodable
from ddl_tf.images.pillow_images import encode_png, load_image, to_rgb, upright_bytes
from ddl_tf.images.template import TEMPLATE_SIZE
from ddl_tf.importers.csv_files import read_csv
from ddl_tf.importers.source import Problem
from ddl_tf.models.recognizer import image_size
from ddl_tf.serving.safe_decoding import MAX_PIXELS

# Both eyes, nose, both corners of the mouth; that on the left of the image first.
LANDMARK_COLUMNS = tuple(f"{axis}{point}" for point in range(1, 6) for axis in "xy")
# Encoded photos that are in memory at a time.
_CHUNK = 512


@dataclasses.dataclass(frozen=True)
class Photo:
    """A file with a face: an aligned one, or with landmarks `[5, 2]` x, y in pixels of the upright image."""

    path: str
    person: str = ""
    landmarks: Optional[np.ndarray] = None


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


def face_bytes(photo: Photo, size: tuple[int, int]) -> Union[bytes, Problem]:
    """Read a photo as the encoded image that a network's input of `size` (height, width) is made of.

    With landmarks, of the upright image, the face is aligned: at 112 px, as the faces of training sets are, or at the
    network's size if that is larger. Aligned faces that are JPEG or PNG files stay as they are, but for EXIF's turn.
    """
    try:
        # Asked first: to open a pipe waits for somebody who writes.
        if not stat.S_ISREG(os.stat(photo.path).st_mode):
            return Problem("no file", photo.path, "it is a folder, a pipe, a socket or a device")
        encoded = Path(photo.path).read_bytes()
    except (OSError, ValueError) as error:  # ValueError: of a path with NUL
        return Problem("missing file", photo.path, getattr(error, "strerror", None) or str(error))
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
        damage = why_undecodable(encoded)
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


class PhotoEmbedder:
    """A checkpoint, run or exported model for photos; `flip` is by default on for all but exported models."""

    def __init__(self, model: str, flip: Optional[bool] = None, batch_size: int = 64) -> None:
        if batch_size < 1:
            raise InputError(f"--batch_size={batch_size}: must be at least 1")
        file = model_file(model)
        if is_exported(file) and flip:
            raise InputError(f"{model}: an exported model adds the mirrored image or not by itself; leave out --flip")
        flip = not is_exported(file) if flip is None else flip
        self._model, self._batch_size = load_embedding_model(model), batch_size
        self._size = image_size(self._model)
        # NumPy promises this generator's numbers to stay as they are.
        noise = np.random.RandomState(0).randint(0, 256, [4, *self._size, 3])
        views = [noise, noise[:, :, ::-1]] if flip else [noise]
        reference = add_views(np.stack([self._model(view.astype(np.float32)).numpy() for view in views], axis=1))
        dim = int(self._model.output_shape[-1])
        self.record = ModelRecord(str(file.resolve()), fingerprint(file), dim, flip, reference)

    def embed(self, photos: Sequence[Photo], name: str) -> tuple[list[Photo], np.ndarray, list[Problem]]:
        """Embed photos: those that could be, `[photos, dim]` float32 of unit norm, and the problems of the others."""
        kept: list[Photo] = []
        blocks = [np.empty([0, self.record.dim], np.float32)]
        problems: list[Problem] = []
        with Progress(name, len(photos)) as progress:
            for start in range(0, len(photos), _CHUNK):
                chunk = photos[start : start + _CHUNK]
                contents = list(map_in_order(lambda photo: face_bytes(photo, self._size), chunk))
                good = [photo for photo, content in zip(chunk, contents) if isinstance(content, bytes)]
                encoded = [content for content in contents if isinstance(content, bytes)]
                problems += [content for content in contents if isinstance(content, Problem)]
                progress.advance(len(chunk) - len(good))
                views = predict_embeddings(self._model, encoded, self.record.flip, self._batch_size, progress)
                with np.errstate(invalid="ignore", over="ignore"):
                    rows = add_views(views)
                usable = np.isfinite(rows).all(axis=1) & rows.any(axis=1)
                kept += [photo for photo, fine in zip(good, usable) if fine]
                unusable = [photo.path for photo, fine in zip(good, usable) if not fine]
                reason = "the model's embedding is zero or not finite"
                problems += [Problem("no embedding", path, reason) for path in unusable]
                blocks.append(rows[usable])
        return kept, np.concatenate(blocks), problems
