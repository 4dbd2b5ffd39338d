"""The usable faces of a photo, or in words why there is none."""

from typing import NamedTuple

from ddl_tf.common.errors import InputError
from ddl_tf.detection.detector import Detector
from ddl_tf.detection.photo_faces import FaceRules, PhotoFace, photo_faces


class UsableFaces(NamedTuple):
    """The usable faces of a photo, left to right, and the others; if there is none, the kind of problem and why."""

    faces: list[PhotoFace]
    refused: list[PhotoFace]
    kind: str = ""
    reason: str = ""


def usable_faces(encoded: bytes, detector: Detector, rules: FaceRules, size: int) -> UsableFaces:
    """Find the usable faces of an encoded photo; the arguments are those of `photo_faces`."""
    try:
        found = photo_faces(encoded, detector, rules, size)
    except ValueError as error:
        # What is wrong with a detector is wrong with all photos.
        if isinstance(error, InputError):
            raise
        return UsableFaces([], [], "corrupt image", str(error))
    if not found:
        return UsableFaces([], [], "no face", "no face was found in it")
    usable = sorted((face for face in found if not face.refused), key=lambda face: face.box[0] + face.box[2])
    refused = [face for face in found if face.refused]
    if not usable:
        return UsableFaces([], refused, "no usable face", f"the surest is {refused[0].refused}")
    return UsableFaces(usable, refused)
