"""What a client gets back, and what each signature promises."""

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np


class Embedded(NamedTuple):
    """Embeddings of encoded images."""

    embedding: np.ndarray
    """float32 `[rows, dim]` of unit norm; zeros where the image could not be decoded."""
    valid: np.ndarray
    """bool `[rows]`: whether the image could be decoded."""


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


# Stands for the model's dimension in the shape of an output.
DIM = -1

# The outputs of a signature: the type of each, and the shape of one row of it.
Outputs = Mapping[str, tuple[Any, tuple[int, ...]]]


def misfit(answer: Mapping[str, np.ndarray], outputs: Outputs, rows: int) -> str:
    """Return what in an answer is not as its signature promises; empty if nothing is.

    Example:
        >>> misfit({"valid": np.zeros(3, bool)}, {"valid": (np.bool_, ())}, rows=4)
        "output 'valid' is bool [3], not bool [4]"
    """
    for name, (dtype, shape) in outputs.items():
        if name not in answer:
            return f"no output {name!r}, only {', '.join(sorted(answer))}"
        given, wanted = answer[name], (rows, *shape)
        fits = given.ndim == len(wanted) and all(w in (g, DIM) for w, g in zip(wanted, given.shape))
        if not fits or given.dtype.kind != np.dtype(dtype).kind:
            told = ", ".join("dim" if size == DIM else str(size) for size in wanted)
            return f"output {name!r} is {given.dtype} {list(given.shape)}, not {np.dtype(dtype)} [{told}]"
    return ""
