"""The faces of plain photos: all that are usable, or the one of the person."""

import dataclasses
from collections.abc import Sequence
from typing import Optional, Union

import numpy as np
from PIL import Image

from ddl_tf.detection import Detector, FaceRules, PhotoFace
from ddl_tf.detection.choice import agreed_faces, choose_face
from ddl_tf.detection.usable import usable_faces
from ddl_tf.gallery.photos import FaceBox, Photo, read_photo
from ddl_tf.images.pillow_images import encode_png
from ddl_tf.images.template import TEMPLATE_SIZE
from ddl_tf.importers.source import Problem

# The faces of a photo, each encoded (not those that are not usable), or why there is none.
Cut = Union[list[tuple[Photo, Optional[bytes]]], Problem]


@dataclasses.dataclass(frozen=True)
class FaceFinder:
    """How faces are found in photos.

    Attributes:
        detector: finds them.
        rules: which of them are usable.
        choice: which of several is taken, `largest` or `central`; all are if it is None.
    """

    detector: Detector
    rules: FaceRules = FaceRules()
    choice: Optional[str] = None

    def cut(self, photo: Photo, size: tuple[int, int]) -> Cut:
        """Find the faces of a photo, and cut the usable ones out for a network's input of `size` (height, width).

        Those are numbered from 1 on, from left to right; the others have the number 0 and no content.
        """
        encoded = read_photo(photo.path)
        if isinstance(encoded, Problem):
            return encoded
        usable, refused, kind, reason = usable_faces(encoded, self.detector, self.rules, max(TEMPLATE_SIZE, *size))
        if not usable:
            return Problem(kind, photo.path, reason)
        chosen = None if self.choice is None else choose_face(usable, self.choice)
        faces: list[tuple[Photo, Optional[bytes]]] = [
            (_with_box(photo, number, face), encode_png(Image.fromarray(face.crop)))
            for number, face in enumerate(usable, 1)
            if chosen in (None, number - 1)
        ]
        return [*faces, *((_with_box(photo, 0, face), None) for face in refused)]


def _with_box(photo: Photo, number: int, face: PhotoFace) -> Photo:
    left, top, right, bottom = face.box.tolist()
    return dataclasses.replace(photo, box=FaceBox(number, left, top, right, bottom, face.score))


def agreed_rows(faces: Sequence[Photo], embeddings: np.ndarray) -> list[int]:
    """Choose from all faces of people's photos the one of the person: that which the person's other photos agree on.

    Of a person's only photo it is the largest face.

    Args:
        faces: in order; those of one photo of a person stand together.
        embeddings: `[faces, dim]` of unit norm.

    Returns:
        The rows that are chosen, rising, one for each photo of a person.
    """
    rows: list[int] = []
    people = np.array([face.person for face in faces], object)
    for person in dict.fromkeys(people.tolist()):
        mine = np.flatnonzero(people == person)
        _, photo = np.unique([faces[row].path for row in mine], return_inverse=True)
        mine, photo = mine[np.argsort(photo, kind="stable")], np.sort(photo)
        if photo[-1] > 0:
            rows += mine[agreed_faces(embeddings[mine], photo)].tolist()
        else:
            sides = [box.side for row in mine if (box := faces[row].box) is not None]
            rows.append(int(mine[np.argmax(sides)]))
    return sorted(rows)


def shared_faces(faces: Sequence[Photo]) -> list[Problem]:
    """Say of which faces it is not clear whose they are: those that were chosen for two people."""
    people: dict[str, list[str]] = {}
    for face in faces:
        people.setdefault(face.name, []).append(face.person)
    reason = "the same face would be {} and {}: give landmarks, or --face=agreed and more photos of each"
    return [
        Problem("face of two people", name, reason.format(*sorted(set(chosen))[:2]))
        for name, chosen in people.items()
        if len(set(chosen)) > 1
    ]
