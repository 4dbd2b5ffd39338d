"""What losses and heads take, in `keras.ops`, for Keras on JAX or PyTorch: whole numbers, rows of unit length."""

from typing import Any, Optional

import keras
import numpy as np
from keras import ops

from ddl_tf.common.keras_version import BACKEND

# The backend's own kind, a `jax.Array` or a `torch.Tensor`.
Tensor = Any

# Beyond it the square of a number, summed, may leave float32.
_LARGE = 1e15


def whole_numbers(values: Any, what: str) -> Tensor:
    """Return whole numbers as the backend's tensor, of a type in which two of them remain two.

    JAX has int32 unless it is told otherwise, and would make 1 of 2^32 + 1. What comes as an array of NumPy is looked
    at here. What comes through `fit` is not: Keras has made int32 of it before any loss or layer sees it.

    Args:
        values: whole numbers of any shape.
        what: what an error calls them.

    Raises:
        ValueError: for numbers of another type, and for such as the backend's type does not hold.
    """
    tensor = ops.convert_to_tensor(values)
    dtype = keras.backend.standardize_dtype(tensor.dtype)
    given = dtype if ops.is_tensor(values) else np.asarray(values).dtype.name
    if "int" not in given or given == "uint64":
        raise ValueError(f"{what} must be int32 or int64, got {given}")
    if given != dtype and np.size(values):
        low, high = np.min(values), np.max(values)
        if low < np.iinfo(dtype).min or high > np.iinfo(dtype).max:
            advice = "number them from 0 on" + (", or set JAX_ENABLE_X64=1" if BACKEND == "jax" else "")
            raise ValueError(f"{what} must fit into {dtype} on the backend {BACKEND}, got {low}..{high}: {advice}")
    return tensor


def class_numbers(labels: Any, per_row: Tensor, num_classes: Optional[int] = None) -> tuple[Tensor, Tensor]:
    """Check labels, int `[batch]` or `[batch, 1]` with -1 for none, of the rows `[batch, ...]`.

    Returns `[batch]` int32 labels, -1 for none and for those out of range; and `[batch]` float32, NaN for those out of
    range and else 0, to be added to what is computed of a row, so that the loss shows it.
    """
    labels = whole_numbers(labels, "labels")
    shape = tuple(labels.shape)
    if shape[1:] not in ((), (1,)) or shape[:1] != tuple(per_row.shape[:1]):
        raise ValueError(f"labels {list(shape)} with {per_row.shape[0]} rows: give one class number for each row")
    labels = ops.reshape(labels, [-1])
    good = (labels >= -1) & (labels < (np.iinfo(np.int32).max if num_classes is None else num_classes))
    return ops.cast(ops.where(good, labels, -1), "int32"), ops.where(good, 0.0, float("nan"))


def l2_normalize(x: Tensor, axis: int) -> Tensor:
    """Divide by the length along an axis; what is shorter than 1e-6 stays below 1."""
    return x * ops.rsqrt(ops.maximum(ops.sum(ops.square(x), axis=axis, keepdims=True), 1e-12))


def unit_rows(rows: Tensor) -> Tensor:
    """Normalise `[rows, dim]` of any float type to float32 of unit length; shorter ones than 1e-6 stay below 1."""
    rows = ops.cast(rows, "float32")
    largest = ops.max(ops.abs(ops.stop_gradient(rows)), axis=1, keepdims=True)
    return l2_normalize(rows / ops.where(largest > _LARGE, largest, 1.0), axis=1)
