"""A vector index on disk: the most similar of many unit vectors, by faiss, exactly or approximately."""

import errno
import os
from pathlib import Path
from typing import Any

import numpy as np

from ddl_tf.common.errors import InputError

KINDS = ("exact", "approximate")

# The four numbers that stand best for one drawn from a normal distribution, by squared error (Max, table I).
_LEVELS = np.array([-1.510, -0.4528, 0.4528, 1.510])
# So many candidates at least, and for each vector that is wanted, are compared exactly: by their codes alone the order
# of vectors nearly as similar is chance.
_CANDIDATES, _CANDIDATES_EACH = 256, 10


def _faiss() -> Any:
    try:
        import faiss
    except ImportError:
        raise InputError("a gallery needs faiss, which is not installed: pip install faiss-cpu") from None
    return faiss


def _two_bit_index(dim: int) -> Any:
    faiss, even = _faiss(), dim + dim % 2
    rotation = faiss.RandomRotationMatrix(dim, even)
    rotation.init(1)
    # Two coordinates share a code of four bits, one of the 16 pairs of levels.
    codes = faiss.IndexPQFastScan(even, even // 2, 4, faiss.METRIC_INNER_PRODUCT)
    pairs = np.stack(np.meshgrid(_LEVELS, _LEVELS), axis=-1).reshape(16, 2) / np.sqrt(even)
    faiss.copy_array_to_vector(np.tile(pairs, [even // 2, 1]).astype(np.float32).ravel(), codes.pq.centroids)
    codes.is_trained = True
    return faiss.IndexRefineFlat(faiss.IndexPreTransform(rotation, codes))


class VectorIndex:
    """Unit vectors that can be searched by cosine similarity; they are numbered from 0 in the order they are added.

    `exact` compares with every vector. `approximate` first compares two bits of each coordinate (`IndexPQFastScan`:
    Andre et al., Quicker ADC, PAMI 43(5), 2021), then the best few hundred vectors exactly: it may miss a vector.
    Before, vectors are turned at random, after which their coordinates are nearly normal: the bits need no training.
    """

    def __init__(self, dim: int, kind: str) -> None:
        if kind not in KINDS:
            raise InputError(f"index {kind!r}: use one of {', '.join(KINDS)}")
        self._index = _faiss().IndexFlatIP(dim) if kind == "exact" else _two_bit_index(dim)

    def __len__(self) -> int:
        return int(self._index.ntotal)

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        return int(self._index.d)

    @property
    def kind(self) -> str:
        """`exact` or `approximate`."""
        return "approximate" if hasattr(self._index, "refine_index") else "exact"

    def add(self, vectors: np.ndarray) -> None:
        """Add vectors `[n, dim]` of unit norm."""
        self._index.add(np.ascontiguousarray(vectors, np.float32))

    def vectors(self, numbers: np.ndarray) -> np.ndarray:
        """Return the vectors of some numbers `[n]`: `[n, dim]` float32."""
        if not len(numbers):
            return np.empty([0, self.dim], np.float32)
        whole = _faiss().downcast_index(self._index.refine_index) if self.kind == "approximate" else self._index
        return whole.reconstruct_batch(np.ascontiguousarray(numbers, np.int64))

    def search(self, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
        """Find the k most similar vectors: cosines `[n, k]` float32, falling, and numbers, -1 where there are fewer."""
        queries = np.ascontiguousarray(queries, np.float32)
        if self.kind == "exact":
            return self._index.search(queries, k)
        # Given with the call: other threads may look for another number.
        candidates = _faiss().IndexRefineSearchParameters(k_factor=max(_CANDIDATES / k, _CANDIDATES_EACH))
        return self._index.search(queries, k, params=candidates)

    def copy(self) -> "VectorIndex":
        """Copy the index, to add to it while others search this one."""
        index = type(self).__new__(type(self))
        index._index = _faiss().clone_index(self._index)
        return index

    def write(self, path: Path) -> None:
        """Write the index to a file."""
        try:
            _faiss().write_index(self._index, str(path))
        except RuntimeError as error:
            # faiss reports the error of the system by its text alone.
            for number in errno.errorcode:
                if str(error).rstrip(")").endswith(os.strerror(number)):
                    raise OSError(number, os.strerror(number), str(path)) from None
            raise

    @classmethod
    def read(cls, path: Path) -> "VectorIndex":
        """Read an index from a file."""
        faiss, index = _faiss(), cls.__new__(cls)
        # faiss says of a missing file what it says of a damaged one.
        path.open("rb").close()
        try:
            index._index = faiss.read_index(str(path))
            if not isinstance(index._index, (faiss.IndexFlatIP, faiss.IndexRefineFlat)):
                raise RuntimeError(f"it is of the type {type(index._index).__name__}")
        except RuntimeError as error:
            reason = str(error).split("failed: ")[-1]
            advice = "make it anew with `python -m ddl_tf.gallery reindex`"
            raise InputError(f"{path}: no index to read ({reason}); {advice}") from None
        return index
