"""Which model embeddings are of, so that those of two models never mix."""

import dataclasses
from typing import Any

import numpy as np

from ddl_tf.common.errors import InputError

# Exports and conversions of a model differ from it by rounding, two models by far more.
_SAME = 0.9999


@dataclasses.dataclass(frozen=True)
class ModelRecord:
    """What tells a model from others, so that embeddings of two models never mix.

    Attributes:
        path: where it was read from, for people.
        sha256: of its file or, if exported, of its folder.
        dim: length of the embeddings.
        flip: whether the embedding of the mirrored image was added to what the model gives.
        reference: `[n, dim]` unit embeddings of fixed images; `[0, 0]` if not known. A checkpoint and the model that is
            exported from it have other files, but the same reference.
    """

    path: str
    sha256: str
    dim: int
    flip: bool = False
    reference: np.ndarray = dataclasses.field(default_factory=lambda: np.empty([0, 0], np.float32), compare=False)

    def describe(self) -> dict[str, Any]:
        """Return all but the reference, for JSON."""
        return {"path": self.path, "sha256": self.sha256, "dim": self.dim, "flip": self.flip}

    def check_same(self, other: "ModelRecord", where: str) -> None:
        """Refuse the embeddings of another model, or of another `flip`; `where` names whose model this is."""
        if other.dim != self.dim:
            raise InputError(
                f"{other.path}: gives embeddings of length {other.dim}, {where} has embeddings of length {self.dim} by "
                f"{self.path}; use that model, or enrol everybody anew"
            )
        # Exact for new records; those of old have a digest of the name too and are known by the reference below.
        if (other.sha256, other.flip) == (self.sha256, self.flip):
            return
        both = len(self.reference) and self.reference.shape == other.reference.shape
        similarity = float(np.sum(self.reference * other.reference, axis=1).min()) if both else 0.0
        if similarity < _SAME:
            views = "" if other.flip == self.flip else f", {'with' if self.flip else 'without'} flip"
            raise InputError(
                f"{other.path}: another model than that of {where}, {self.path} (sha256 {self.sha256[:12]}{views}), so "
                "that their embeddings cannot be compared; use that model, or enrol everybody anew"
            )
