"""A small stored set for the tests."""

import numpy as np
from PIL import Image
from tiny_sets import stored_faces

from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.importers.source import Sample


def stored(folder, count=12, size=24, **columns):
    """Store images of noise, two of each person; `columns` are lists with a value for each image."""
    rng, items = np.random.default_rng(0), []
    for n in range(count):
        image = encode_jpeg(Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8)))
        values = {name: column[n] for name, column in columns.items()}
        items.append(Sample(image, f"person {n // 2}", f"item {n}", n % 2, values))
    return stored_faces(items, folder)
