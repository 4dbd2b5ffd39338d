"""What a client gets back: answers, and what each signature promises; what a server reports of a model."""

from collections.abc import Mapping
from typing import Any, NamedTuple, Optional

import numpy as np


class Embedded(NamedTuple):
    """Unit embeddings float32 `[rows, dim]`, zeros where the image could not be decoded; bool `[rows]`: could it."""

    embedding: np.ndarray
    valid: np.ndarray


class Verified(NamedTuple):
    """Of pairs `[pairs]`: cosine float32; bool: is it at least the model's threshold; bool: could both be decoded."""

    similarity: np.ndarray
    same: np.ndarray
    valid: np.ndarray


class Found(NamedTuple):
    """The nearest rows of a gallery int32 `[rows, k]`; their cosines float32; bool `[rows]`: could it be decoded."""

    index: np.ndarray  # type: ignore[assignment]
    similarity: np.ndarray
    valid: np.ndarray


class TensorInfo(NamedTuple):
    """Of a signature: NumPy's name of a type, `string`, or TensorFlow's; -1 for any size, None for any shape."""

    dtype: str
    shape: Optional[tuple[int, ...]]


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
    """A version of a model of a server: one of `STATES` in `ddl_tf.client.messages`, and why it could not be loaded."""

    version: int
    state: str
    error: str


AVAILABLE = "AVAILABLE"
# TensorFlow's own signatures, such as __saved_model_init_op.
INTERNAL = "__"

# TensorFlow's number and name of each type that the signatures use, and what NumPy calls it.
DTYPES = {1: ("DT_FLOAT", "float32"), 3: ("DT_INT32", "int32"), 4: ("DT_UINT8", "uint8")}
DTYPES |= {7: ("DT_STRING", "string"), 9: ("DT_INT64", "int64"), 10: ("DT_BOOL", "bool")}

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
