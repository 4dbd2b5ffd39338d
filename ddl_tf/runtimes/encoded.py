"""Encoded images through a runtime, without TensorFlow: what `predict_embeddings` does with a model of Keras."""

import contextlib
import itertools
from collections.abc import Sequence
from typing import Optional

import numpy as np

from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.images.pillow_images import decode_image, resize_image
from ddl_tf.runtimes.embedders import Embedder
from ddl_tf.runtimes.views import UndecodableError


def embed_encoded(
    embedder: Embedder, images: Sequence[bytes], flip: bool, batch_size: int, progress: Optional[Progress] = None
) -> np.ndarray:
    """Embed encoded JPEG or PNG images of any size, views apart as the network gives them: `[images, views, dim]`.

    Images are decoded by all cores, some ahead of the network. With `flip` there are two views, that of the mirrored
    image second. Raises an `UndecodableError` for the first image that cannot be decoded.
    """

    def read(place: int) -> np.ndarray:
        try:
            return resize_image(decode_image(images[place]), embedder.image_size)
        except ValueError as error:
            raise UndecodableError(place, len(images[place]), str(error)) from None

    rows = [np.zeros([0, 2 if flip else 1, embedder.dim], np.float32)]
    with contextlib.closing(map_in_order(read, range(len(images)))) as decoded:
        while batch := list(itertools.islice(decoded, batch_size)):
            image = np.stack(batch)
            views = [image, image[:, :, ::-1]] if flip else [image]
            rows.append(np.stack([embedder.run(view) for view in views], axis=1))
            if progress is not None:
                progress.advance(len(batch))
    return np.concatenate(rows)
