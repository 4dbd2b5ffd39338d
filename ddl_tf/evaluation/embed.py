"""The embeddings of encoded images by an embedding model."""

from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.common.parallel import usable_cores
from ddl_tf.common.progress import Progress
from ddl_tf.data.pipeline import PREFETCHED, options_without_autotune
from ddl_tf.images.decoding import decode_image, resize_images, why_undecodable
from ddl_tf.images.pillow_images import upright_bytes
from ddl_tf.models.recognizer import image_size
from ddl_tf.runtimes.views import UndecodableError, add_views, check_finite


class _Advance(tf.keras.callbacks.Callback):
    """Advances a progress by each batch that is done."""

    def __init__(self, progress: Optional[Progress], num_images: int, batch_size: int) -> None:
        super().__init__()
        self.done = 0
        self._progress, self._num_images, self._batch_size = progress, num_images, batch_size

    def on_predict_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        done = min((batch + 1) * self._batch_size, self._num_images)
        if self._progress is not None:
            self._progress.advance(done - self.done)
        self.done = done


def predict_embeddings(
    model: tf.keras.Model,
    images: Sequence[bytes],
    flip: bool,
    batch_size: int,
    progress: Optional[Progress] = None,
    places: Optional[range] = None,
) -> np.ndarray:
    """Embed encoded images, or those at some places, views apart as the model gives them: `[images, views, dim]`."""
    size, views_per_image = image_size(model), 2 if flip else 1
    places = range(len(images)) if places is None else places
    if not places:
        return np.zeros([0, views_per_image, model.output_shape[-1]], np.float32)

    def read() -> Iterator[bytes]:
        yield from (upright_bytes(images[place]) for place in places)

    def views(encoded: tf.Tensor) -> tf.Tensor:
        image = resize_images(decode_image(encoded), size)
        return tf.stack([image, image[:, ::-1]] if flip else [image])

    dataset = (
        tf.data.Dataset.from_generator(read, output_signature=tf.TensorSpec([], tf.string))
        .map(views, num_parallel_calls=usable_cores(), deterministic=True)
        .batch(batch_size)
        .map(lambda batch: tf.reshape(batch, [-1, *size, 3]))
        .prefetch(PREFETCHED)
        .with_options(options_without_autotune())
    )
    advance = _Advance(progress, len(places), batch_size)
    try:
        rows = model.predict(dataset, verbose=0, callbacks=[advance])
    except tf.errors.OpError:
        # tf.data's errors do not name the image.
        for place in places[advance.done :]:
            encoded = images[place]
            reason = why_undecodable(encoded)
            if reason is not None:
                raise UndecodableError(place, len(encoded), reason) from None
        raise
    return rows.astype(np.float32).reshape(len(places), views_per_image, -1)


def embed_images(
    model: tf.keras.Model, images: Sequence[bytes], name: str = "images", flip: bool = True, batch_size: int = 64
) -> np.ndarray:
    """Embed encoded images, by all devices of the model's distribution strategy.

    Images are read, decoded and resized to the model's size as they are needed. With `flip`, the embedding of an image
    is the sum of those of the image and its mirror image, as InsightFace evaluates.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        images: encoded JPEG or PNG, of any size.
        name: of the images, for messages.
        flip: whether to add the embedding of the mirrored image.
        batch_size: images a step; with `flip`, the model gets twice as many rows.

    Returns:
        `[images, dim]` float32 of unit norm (an all-zero embedding stays zero).

    Raises:
        InputError: if an image cannot be decoded, or an embedding is not finite.

    References:
        https://github.com/deepinsight/insightface, recognition/arcface_torch/eval/verification.py
    """
    if batch_size < 1:
        raise InputError(f"batch_size={batch_size}: must be at least 1")
    with Progress(name, len(images)) as progress:
        try:
            views = predict_embeddings(model, images, flip, batch_size, progress)
        except UndecodableError as error:
            raise InputError(f"verification set {name}: {error}; replace it or remove its pairs") from None
    check_finite(views, f"verification set {name}")
    return add_views(views)
