"""The faces of photos, found on the side of the client."""

import os
from collections.abc import Sequence
from typing import NamedTuple, Union

from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.common.parallel import map_in_order
from ddl_tf.detection import Detector, FaceRules, PhotoFace
from ddl_tf.detection.usable import usable_faces
from ddl_tf.images.pillow_images import encode_png

# The content of a file, or its path.
Photo = Union[bytes, str, "os.PathLike[str]"]


class SentFaces(NamedTuple):
    """The usable faces of a photo, from left to right, each also encoded; or why there is none."""

    faces: list[PhotoFace]
    encoded: list[bytes]
    problem: str


def find_faces(photos: Sequence[Photo], detector: Detector, rules: FaceRules, size: int) -> list[SentFaces]:
    """Find the faces of photos, by a thread for each core, and cut them out with `size` pixels a side."""
    if isinstance(photos, (bytes, str, os.PathLike)):
        raise InputError("photos: one photo, not a list of them; put it into a list")
    for row, photo in enumerate(photos):
        if not isinstance(photo, (bytes, str, os.PathLike)):
            raise InputError(f"photos, row {row}: {type(photo).__name__}, not bytes or a path; give a file's content")
    if size < 1:
        raise InputError(f"size {size}: the side of an aligned face must be at least 1 pixel")

    def find(photo: Photo) -> SentFaces:
        try:
            encoded = photo if isinstance(photo, bytes) else require_regular_file(os.fspath(photo)).read_bytes()
        except (OSError, ValueError) as error:  # ValueError: of a path with NUL
            return SentFaces([], [], f"missing file: {getattr(error, 'strerror', None) or error}")
        faces, _, kind, reason = usable_faces(encoded, detector, rules, size)
        problem = "" if faces else f"{kind}: {reason}"
        return SentFaces(faces, [encode_png(Image.fromarray(face.crop)) for face in faces], problem)

    return list(map_in_order(find, photos, 1))
