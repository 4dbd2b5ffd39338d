"""What a server tells about a model."""

from typing import NamedTuple, Optional


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
    """Why it could not be loaded; empty if there is nothing to tell."""


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
