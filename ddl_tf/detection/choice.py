"""Which of several faces in a photo is the person whose photo it is."""

from collections.abc import Sequence
from typing import Optional

import numpy as np

from ddl_tf.detection.photo_faces import PhotoFace

# By the photo alone; and by what the other photos of the person show.
CHOICES, AGREED = ("largest", "central"), "agreed"


def choose_face(faces: Sequence[PhotoFace], choice: str) -> Optional[int]:
    """Choose the face of a photo: the largest, or the one nearest to the centre, of those that are not refused.

    Returns:
        Its position in `faces`; None if all are refused.
    """
    usable = [number for number, face in enumerate(faces) if not face.refused]
    if choice == "largest":
        return max(usable, key=lambda number: faces[number].side, default=None)
    return min(usable, key=lambda number: faces[number].central, default=None)


def agreed_faces(embeddings: np.ndarray, photo: np.ndarray) -> np.ndarray:
    """Choose from each photo of one person the face that the other photos agree on.

    How much a face is agreed on is the mean, over the other photos, of the similarity to the most similar face there.
    Strangers differ from photo to photo. A second person in every photo of the first cannot be told from the first.

    Args:
        embeddings: `[faces, dim]` of unit norm.
        photo: `[faces]` int, the photo that each is in, ascending; a person needs at least two photos.

    Returns:
        `[photos]` int, the row of the chosen face of each photo, in the order of the photos.

    Example:
        >>> agreed_faces(np.eye(3)[[0, 1, 2, 0]], np.array([0, 0, 1, 1])).tolist()
        [0, 3]
    """
    numbers, begins = np.unique(photo, return_index=True)
    ends = np.append(begins[1:], len(photo))
    chosen = np.empty(len(numbers), np.int64)
    for place, (begin, end) in enumerate(zip(begins, ends)):
        nearest = np.maximum.reduceat(embeddings[begin:end] @ embeddings.T, begins, axis=1)
        chosen[place] = begin + np.delete(nearest, place, axis=1).mean(axis=1).argmax()
    return chosen
