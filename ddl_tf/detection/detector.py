"""What a detector of faces is: an image in, boxes, five points and scores out."""

from typing import NamedTuple, Protocol

import numpy as np


class FoundFaces(NamedTuple):
    """The n faces that a detector found in an image, in pixels, the surest first.

    Attributes:
        boxes: `[n, 4]` float: left, top, right, bottom.
        landmarks: `[n, 5, 2]` float x, y: both eyes, nose, both corners of the mouth; that on the left of the image
            first, as in `ddl_tf.images.template.ARCFACE_TEMPLATE`.
        scores: `[n]` float, how sure the detector is, 0 to 1.
    """

    boxes: np.ndarray
    landmarks: np.ndarray
    scores: np.ndarray


class Detector(Protocol):
    """A detector of faces: that of this package, or an SCRFD, YuNet or RetinaFace of your own.

    Example:
        >>> from ddl_tf.images.template import ARCFACE_TEMPLATE
        >>> class OneFace:
        ...     name = "the whole image"
        ...     def find(self, image):
        ...         box = np.array([[0.0, 0.0, 112.0, 112.0]])
        ...         return FoundFaces(box, ARCFACE_TEMPLATE[None], np.ones(1))
        >>> OneFace().find(np.zeros([112, 112, 3], np.uint8)).scores.tolist()
        [1.0]
    """

    # What the result follows from, such as "yunet 2023mar, score .8": interrupted work goes on only with the same.
    name: str

    def find(self, image: np.ndarray) -> FoundFaces:
        """Find the faces of a uint8 `[height, width, 3]` RGB image; several threads may call it at a time."""
