"""Whether an aligned image shows a face where the template has one: a detector looks once more."""

import numpy as np
from PIL import Image

from ddl_tf.detection.detector import Detector
from ddl_tf.images.template import ARCFACE_TEMPLATE, TEMPLATE_SIZE, similarity_transform

# A detector needs room around a face that fills its image: this share of the side.
_BORDER = 1 / 4
# What one look misses another finds, of faces: scale and whether the image is mirrored. Of 117 images of CelebA without
# a face at the first look the others find half, and of the dozen that show none only one (docs/results/cleaning.md).
_LOOKS = ((1.0, False), (1.0, True), (1.5, False), (1.5, True))
_MIRRORED_ORDER = [1, 0, 2, 4, 3]


def template_misfit(landmarks: np.ndarray) -> float:
    """How far a new alignment by `[5, 2]` landmarks would move the template's points, in pixels (root mean square).

    Of a face that is aligned, seen from whatever side, it is 0: the landmarks of a profile are far from the template,
    but nothing brings them nearer.
    """
    matrix = similarity_transform(landmarks, ARCFACE_TEMPLATE)
    moved = ARCFACE_TEMPLATE @ matrix[:, :2].T + matrix[:, 2]
    return float(np.sqrt(np.mean(np.sum((moved - ARCFACE_TEMPLATE) ** 2, axis=1))))


def check_face(image: np.ndarray, detector: Detector) -> tuple[float, float]:
    """Look for the face of an aligned image.

    Args:
        image: uint8 `[height, width, 3]` RGB; scaled to the template's 112 px.
        detector: what finds faces.

    Returns:
        The detector's score of the face that fits the template best, and its `template_misfit`; 0 and NaN if there is
        none, mirrored and larger neither.
    """
    for scale, mirrored in _LOOKS:
        side = round(scale * TEMPLATE_SIZE)
        border = round(_BORDER * side)
        pixels = np.asarray(Image.fromarray(image).resize((side, side), Image.Resampling.BICUBIC))
        pixels = np.pad(pixels[:, ::-1] if mirrored else pixels, ((border, border), (border, border), (0, 0)), "edge")
        faces = detector.find(np.ascontiguousarray(pixels))
        points = faces.landmarks - float(border)
        if mirrored:
            points = points[:, _MIRRORED_ORDER] * [-1.0, 1.0] + [side - 1.0, 0.0]
        # From the middle of the first pixel, which is at 0.
        points = (points + 0.5) / scale - 0.5
        misfits = [template_misfit(face) for face in points]
        if misfits:
            best = int(np.argmin(misfits))
            return float(faces.scores[best]), misfits[best]
    return 0.0, np.nan
