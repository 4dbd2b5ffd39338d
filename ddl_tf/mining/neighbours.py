"""The identities that each identity is most easily confused with: those with the nearest class centers."""

from typing import Optional

import numpy as np
import tensorflow as tf

# Similarities that are in memory at a time.
_BLOCK_ELEMENTS = 2**25


def nearest_identities(centers: np.ndarray, count: int, identities: Optional[np.ndarray] = None) -> np.ndarray:
    """Find the nearest other class centers of every identity, by an exact search.

    The cost is the square of the number of identities times the dimension, in blocks of bounded memory.

    Args:
        centers: `[num_identities, dim]` of unit norm.
        count: how many to find; at most as many as there are others.
        identities: `[n]` int, the identities to search for and among; by default all.

    Returns:
        `[num_identities, count]` int32, the most similar first. The row of an identity that was not searched for holds
        the identity itself.

    Example:
        >>> centers = np.array([[1, 0], [0.8, 0.6], [0, 1]], np.float32)
        >>> nearest_identities(centers, 1).ravel()
        array([1, 0, 1], dtype=int32)
    """
    chosen = np.arange(len(centers)) if identities is None else np.asarray(identities)
    count = min(count, len(chosen) - 1)
    neighbours = np.repeat(np.arange(len(centers), dtype=np.int32)[:, np.newaxis], max(count, 0), axis=1)
    if count < 1:
        return neighbours
    among = tf.constant(centers[chosen], tf.float32)
    rows = max(1, _BLOCK_ELEMENTS // len(chosen))
    for start in range(0, len(chosen), rows):
        block = tf.matmul(among[start : start + rows], among, transpose_b=True)
        # Itself last.
        diagonal = tf.range(start, start + tf.shape(block)[0])
        block = tf.tensor_scatter_nd_update(
            block, tf.stack([diagonal - start, diagonal], axis=1), tf.fill(tf.shape(diagonal), -np.inf)
        )
        nearest = tf.math.top_k(block, count).indices.numpy()
        neighbours[chosen[start : start + len(nearest)]] = chosen[nearest]
    return neighbours
