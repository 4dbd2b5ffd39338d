"""What int8 formats share: the images that set the ranges of activations, and which operations stay in float."""

from collections.abc import Sequence
from typing import Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.models.recognizer import image_size


def check_calibration(images: Optional[np.ndarray], model: tf.keras.Model) -> np.ndarray:
    """Refuse calibration images that are missing or do not fit: uint8 `[n, height, width, 3]` of the model's size."""
    if images is None or not len(images):
        raise InputError("int8 without calibration images, which set the ranges of its activations; give some")
    size = [*image_size(model), 3]
    if images.dtype != np.uint8 or list(images.shape[1:]) != size:
        kind = f"{images.dtype} {list(images.shape)}"
        raise InputError(f"calibration images {kind}: the model takes uint8 {['n', *size]}")
    return images


def last_operations(operations: Sequence[tuple[str, Sequence[str], bool]], path: object) -> list[str]:
    """Name the operations of a network that no convolution of an image comes after: the neck and the normalisation.

    There each value counts for the whole embedding, and few of them cost time.

    Args:
        operations: in an order in which they can be computed: the name, the names of those whose results it takes, and
            whether it is a convolution that gives an image, of more than one pixel.
        path: of the file, for errors.

    Raises:
        InputError: if no operation is such a convolution, so that nothing could be quantized.
    """
    before: set[str] = set()
    last = []
    for name, sources, is_convolution in reversed(operations):
        if is_convolution or name in before:
            before.update(sources)
        else:
            last.append(name)
    if not before:
        raise InputError(f"{path}: the model has no convolution of an image, which int8 is for; use another format")
    return last
