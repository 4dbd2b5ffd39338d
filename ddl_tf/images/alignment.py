"""Alignment of faces: five landmarks brought to ArcFace's template, where the networks of the field expect them."""

from typing import Union

import numpy as np
from PIL import Image, ImageOps

from ddl_tf.common.errors import InputError
from ddl_tf.images.landmarks import landmark_problem
from ddl_tf.images.pillow_images import to_rgb
from ddl_tf.images.template import ARCFACE_TEMPLATE, TEMPLATE_SIZE, similarity_transform

__all__ = ["ARCFACE_TEMPLATE", "TEMPLATE_SIZE", "align_face", "cut_face", "similarity_transform"]


def align_face(image: Union[np.ndarray, Image.Image], landmarks: np.ndarray, size: int = TEMPLATE_SIZE) -> np.ndarray:
    """Cut a face out of an image so that its landmarks lie on the five-point template of ArcFace.

    As `face_align.norm_crop` of InsightFace, with Pillow instead of OpenCV: bilinear, black outside of the image. On
    200 synthetic faces it differs from OpenCV 4.11, which rounds positions to 1/32 pixel, by 0.06 grey levels on
    average and by 4 at most; from OpenCV 5.0 by 0.0005 and by 1.

    The image is uint8 `[height, width, 3]` RGB, or Pillow's in any mode. Landmarks are `[5, 2]` x, y in pixels, (0, 0)
    the centre of the first pixel: both eyes, nose, both corners of the mouth, that on the left of the image first. The
    face is uint8 `[size, size, 3]` RGB. Raises an `InputError` for points that can be none of a face: see
    `landmark_problem`.

    Example:
        >>> align_face(Image.new("RGB", (112, 112), "grey"), ARCFACE_TEMPLATE)[56, 56].tolist()
        [128, 128, 128]
    """
    if isinstance(image, np.ndarray):
        image = Image.fromarray(image)
    if problem := landmark_problem(landmarks, image.size):
        raise InputError(f"landmarks {np.round(landmarks, 2).tolist()}: {problem}")
    return cut_face(image, landmarks, size)


def cut_face(image: Image.Image, landmarks: np.ndarray, size: int = TEMPLATE_SIZE) -> np.ndarray:
    """Do as `align_face`, whatever the landmarks: for lists that were checked as a whole."""
    forward = similarity_transform(landmarks, ARCFACE_TEMPLATE * (size / TEMPLATE_SIZE))
    # That of a similarity. LAPACK's wakes the threads of OpenBLAS, which then take a core for 30 ms of waiting.
    inverse = forward[:, :2].T / np.sum(forward[0, :2] ** 2)
    offset = -inverse @ forward[:, 2]
    # Pillow counts from the corner of a pixel, landmarks from its centre. A black pixel around lets the border fade.
    offset += 0.5 - inverse @ [0.5, 0.5] + 1
    matrix = np.column_stack([inverse, offset]).ravel().tolist()
    framed = ImageOps.expand(to_rgb(image), 1)
    aligned = np.empty([size, size, 3], np.uint8)
    # Pillow in 8 bits cuts off what it should round, half a grey level on average.
    for number, channel in enumerate(framed.split()):
        exact = channel.convert("F").transform((size, size), Image.Transform.AFFINE, matrix, Image.Resampling.BILINEAR)
        aligned[..., number] = np.asarray(exact) + 0.5
    return aligned
