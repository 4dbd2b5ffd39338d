"""A small stored set for the tests."""

import numpy as np
from PIL import Image

from ddl_tf.data.store import Faces
from ddl_tf.data.writer import StoreSettings, write_set
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.importers.source import Sample, Source


def stored(folder, count=12, size=24, **columns):
    """Store images of noise, two of each person; `columns` are lists with a value for each image."""
    rng = np.random.default_rng(0)
    items = []
    for n in range(count):
        image = Image.fromarray(rng.integers(0, 256, (size, size, 3), np.uint8))
        values = {name: column[n] for name, column in columns.items()}
        items.append(Sample(encode_jpeg(image), f"person {n // 2}", f"item {n}", n % 2, values))
    write_set(Source("list", "a list", count, lambda start: iter(items[start:])), StoreSettings(output=str(folder)))
    return Faces([str(folder)])
