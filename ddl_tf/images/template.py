"""Where an aligned face has its landmarks, and how points are brought there."""

import numpy as np

from ddl_tf.common.errors import InputError

TEMPLATE_SIZE = 112


# Where an aligned face of 112 px has its eyes, nose and corners of the mouth: left eye of the image first; x, y.
ARCFACE_TEMPLATE = np.array(
    [[38.2946, 51.6963], [73.5318, 51.5014], [56.0252, 71.7366], [41.5493, 92.3655], [70.7299, 92.2041]]
)


def similarity_transform(source: np.ndarray, target: np.ndarray) -> np.ndarray:
    """Fit rotation, scale and translation from `source` to `target` points, both `[points, 2]` x, y, by least squares.

    Gives `[2, 3]`: a point p is brought to `matrix[:, :2] @ p + matrix[:, 2]`.

    References:
        Umeyama, Least-squares estimation of transformation parameters between two point patterns, PAMI 13(4), 1991.
    """
    source, target = np.asarray(source, np.float64), np.asarray(target, np.float64)
    source_mean, target_mean = source.mean(axis=0), target.mean(axis=0)
    source_centred, target_centred = source - source_mean, target - target_mean
    variance = np.sum(source_centred**2)
    if not (np.isfinite(variance) and variance > 0):
        raise InputError(f"landmarks {source.tolist()}: must be finite and not all one point; detect them anew")
    left, singular, right = np.linalg.svd(target_centred.T @ source_centred)
    # A face is never mirrored.
    signs = np.array([1.0, np.sign(np.linalg.det(left) * np.linalg.det(right))])
    linear = (left * signs) @ right * (singular @ signs / variance)
    return np.column_stack([linear, target_mean - linear @ source_mean])
