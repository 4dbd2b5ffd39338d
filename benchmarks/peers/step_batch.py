"""The rows of benchmarks/training_step.py, the same for all sides; needs Python and NumPy alone."""

import numpy as np

# Few: the head takes a small share of the step.
IDENTITIES = 1000


def make_batch(rows: int, image_size: int) -> tuple[np.ndarray, np.ndarray]:
    """Make a batch.

    Returns:
        uint8 `[rows, image_size, image_size, 3]` images, and int64 `[rows]` identities.
    """
    random = np.random.default_rng(0)
    images = random.integers(0, 256, [rows, image_size, image_size, 3], np.uint8)
    return images, random.integers(0, IDENTITIES, rows)
