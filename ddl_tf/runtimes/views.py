"""Embeddings of the views of images, an image and perhaps its mirror image: checked, added up, scaled."""

import numpy as np

from ddl_tf.common.errors import InputError


class UndecodableError(ValueError):
    """An image at a `position` whose bytes, `size` of them, cannot be decoded for a `reason`."""

    def __init__(self, position: int, size: int, reason: str) -> None:
        super().__init__(f"image {position} ({size} bytes) cannot be decoded as JPEG or PNG ({reason})")
        self.position, self.size, self.reason = position, size, reason


def unit(embeddings: np.ndarray) -> np.ndarray:
    """Scale embeddings `[n, dim]` to unit norm; an all-zero one stays zero."""
    norms = np.linalg.norm(embeddings, axis=1, keepdims=True)
    return embeddings / np.where(norms > 0, norms, 1)


def check_finite(views: np.ndarray, name: str, start: int = 0) -> None:
    """Refuse embeddings `[images, views, dim]` that are not finite; the first image has the number `start`."""
    finite = np.isfinite(views).all(axis=(1, 2))
    if not finite.all():
        raise InputError(
            f"{name}: the model's embedding of image {start + int(np.argmin(finite))} is not finite "
            f"({np.sum(~finite)} of {len(finite)} are not); use a checkpoint from before training diverged"
        )


def add_views(views: np.ndarray) -> np.ndarray:
    """Add up the views of images `[images, views, dim]`, and scale the sums to unit norm: `[images, dim]` float32."""
    # In float64: the squares of a diverged network's embeddings overflow.
    return unit(views.sum(axis=1, dtype=np.float64)).astype(np.float32)
