"""What a client gets back: answers, and what each signature promises; what a server reports of a model."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, NamedTuple, Optional

import numpy as np

if TYPE_CHECKING:
    from ddl_tf.detection import PhotoFace


class Embedded(NamedTuple):
    """Embeddings of encoded images."""

    embedding: np.ndarray
    """float32 `[rows, dim]` of unit norm; zeros where the image could not be decoded."""
    valid: np.ndarray
    """bool `[rows]`: whether the image could be decoded."""


class EmbeddedPhoto(NamedTuple):
    """The faces of a photo."""

    faces: "list[PhotoFace]"
    """The usable faces, from left to right; see `ddl_tf.detection.PhotoFace`."""
    embedding: np.ndarray
    """float32 `[faces, dim]` of unit norm."""
    problem: str
    """Why there is no face; empty if there is one."""


class Verified(NamedTuple):
    """Pairs of images, compared."""

    similarity: np.ndarray
    """float32 `[pairs]`, cosine."""
    same: np.ndarray
    """bool `[pairs]`: whether it is at least the model's threshold."""
    valid: np.ndarray
    """bool `[pairs]`: whether both images could be decoded."""


class Found(NamedTuple):
    """The nearest rows of a gallery, the nearest first."""

    index: np.ndarray  # type: ignore[assignment]
    """int32 `[rows, k]`, rows of the gallery."""
    similarity: np.ndarray
    """float32 `[rows, k]`, cosine."""
    valid: np.ndarray
    """bool `[rows]`: whether the image could be decoded."""


class TensorInfo(NamedTuple):
    """An input or output of a signature."""

    dtype: str
    """`uint8`, `float32`, `int32`, `int64`, `bool` or `string`; other types as TensorFlow's `DT_` names."""
    shape: Optional[tuple[int, ...]]
    """-1 for any size; None for any shape."""


class Signature(NamedTuple):
    """Names, types and shapes of what goes in and comes out."""

    inputs: dict[str, TensorInfo]
    outputs: dict[str, TensorInfo]


class ModelMetadata(NamedTuple):
    """A model of a server."""

    name: str
    version: int
    signatures: dict[str, Signature]


class VersionStatus(NamedTuple):
    """A version of a model of a server."""

    version: int
    state: str
    """`START`, `LOADING`, `AVAILABLE`, `UNLOADING`, `END`, or `UNKNOWN`."""
    error: str
    """Why it could not be loaded; empty if there is no error."""


AVAILABLE = "AVAILABLE"
# TensorFlow's own signatures, such as __saved_model_init_op.
INTERNAL = "__"

# TensorFlow's number and name of each type that the signatures use, and what NumPy calls it.
DTYPES = {
    1: ("DT_FLOAT", "float32"),
    3: ("DT_INT32", "int32"),
    4: ("DT_UINT8", "uint8"),
    7: ("DT_STRING", "string"),
    9: ("DT_INT64", "int64"),
    10: ("DT_BOOL", "bool"),
}

# Stands for the model's dimension in the shape of an output.
DIM = -1

# The outputs of a signature: the type of each, and the shape of one row of it.
Outputs = Mapping[str, tuple[Any, tuple[int, ...]]]


def misfit(answer: Mapping[str, np.ndarray], outputs: Outputs, rows: int) -> str:
    """Return what in an answer is not as its signature promises; empty if nothing is."""
    for name, (dtype, shape) in outputs.items():
        if name not in answer:
            return f"no output {name!r}, only {', '.join(sorted(answer))}"
        array, wanted = answer[name], (rows, *shape)
        fits = array.ndim == len(wanted) and all(size in (DIM, side) for size, side in zip(wanted, array.shape))
        if not fits or array.dtype.kind != np.dtype(dtype).kind:
            text = ", ".join("dim" if size == DIM else str(size) for size in wanted)
            return f"output {name!r} is {array.dtype} {list(array.shape)}, not {np.dtype(dtype)} [{text}]"
    return ""
