"""Rows of made-up embeddings, and the losses that take them."""

import numpy as np
from needs import HAS_TENSORFLOW_ADDONS

from ddl_tf.losses import DDLLoss, HistogramLoss, RKDLoss, SPLoss, TripletLoss

LOSSES = [DDLLoss, HistogramLoss, RKDLoss, SPLoss, *([TripletLoss] if HAS_TENSORFLOW_ADDONS else [])]


def make_batch(groups=2, identities=5, rows=4, dim=16, seed=0, noise=1.0):
    """Rows of `groups` groups; later groups are noisier, so that their distributions differ."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(identities, dim))
    identity = np.tile(np.repeat(np.arange(identities), rows), groups)
    group = np.repeat(np.arange(groups), identities * rows)
    embeddings = centers[identity] + rng.normal(size=(len(identity), dim)) * (0.4 + noise * group[:, None])
    order = rng.permutation(len(identity))
    return np.stack([identity, group], 1)[order], (3 * embeddings[order]).astype(np.float32)


def edge_cases():
    y_true, y_pred = make_batch()
    rows_of_cases = {
        "teacher only": y_true * [1, 0],
        "student only": y_true * [1, 0] + [0, 1],
        "a student with a gap before it": y_true * [1, 3],
        "one identity": y_true * [0, 1] + [7, 0],
        "no positive pair": y_true * [0, 1] + np.arange(len(y_true))[:, None] * [1, 0],
        "nobody takes part": y_true * [1, 0] - [0, 1],
    }
    alternating = np.where(np.arange(len(y_pred))[:, None] % 2, 1.0, -1.0)
    return {
        **{name: (rows, y_pred) for name, rows in rows_of_cases.items()},
        "zero embeddings": (y_true, np.zeros_like(y_pred)),
        "equal embeddings": (y_true, np.ones_like(y_pred)),
        "opposite embeddings": (y_true, (alternating * np.ones_like(y_pred)).astype(np.float32)),
        "one row": (y_true[:1], y_pred[:1]),
        "no row": (y_true[:0], y_pred[:0]),
    }
