"""The embeddings of encoded images by an embedding model."""

from collections.abc import Iterator, Sequence
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.data.decoding import decode_image, resize_images, why_undecodable
from ddl_tf.errors import InputError
from ddl_tf.progress import Progress


class _Advance(tf.keras.callbacks.Callback):
    """Tells a progress of each batch that is done."""

    def __init__(self, progress: Progress, num_images: int, batch_size: int) -> None:
        super().__init__()
        self.done = 0
        self._progress, self._num_images, self._batch_size = progress, num_images, batch_size

    def on_predict_batch_end(self, batch: int, logs: Optional[dict[str, Any]] = None) -> None:
        done = min((batch + 1) * self._batch_size, self._num_images)
        self._progress.advance(done - self.done)
        self.done = done


def image_size(model: tf.keras.Model) -> tuple[int, int]:
    """Read the (height, width) in pixels that an embedding model takes.

    Args:
        model: image `[batch, height, width, 3]` -> embedding `[batch, dim]`.

    Returns:
        (height, width).

    Raises:
        InputError: if the model has another input, or no fixed size.
    """
    shape = model.input_shape
    if not isinstance(shape, tuple) or len(shape) != 4 or shape[3] != 3 or None in shape[1:3]:
        raise InputError(f"the model takes input of shape {shape}: expected [batch, height, width, 3] of fixed size")
    return shape[1], shape[2]


def _raise_for_undecodable(images: Sequence[bytes], name: str, start: int) -> None:
    """Find the image that stopped tf.data, whose errors do not say which one it was."""
    for index in range(start, len(images)):
        encoded = images[index]
        reason = why_undecodable(encoded)
        if reason is not None:
            raise InputError(
                f"verification set {name}: image {index} ({len(encoded)} bytes) cannot be decoded as JPEG or PNG "
                f"({reason}); replace it or remove its pairs"
            )


def embed_images(
    model: tf.keras.Model, images: Sequence[bytes], name: str = "images", flip: bool = True, batch_size: int = 64
) -> np.ndarray:
    """Embed encoded images, by all devices of the model's distribution strategy.

    Images are read, decoded and resized to the model's size as they are needed. With `flip`, the embedding of an
    image is the sum of those of the image and its mirror image, which is how InsightFace evaluates.

    Args:
        model: image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`.
        images: encoded JPEG or PNG, of any size; read one after the other.
        name: what the images are, for messages.
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
        raise InputError(f"batch size {batch_size}: must be at least 1")
    size = image_size(model)
    if len(images) == 0:
        return np.zeros([0, model.output_shape[-1]], np.float32)

    def read() -> Iterator[bytes]:
        for index in range(len(images)):
            yield images[index]

    def views(encoded: tf.Tensor) -> tf.Tensor:
        image = resize_images(decode_image(encoded), size)
        return tf.stack([image, image[:, ::-1]] if flip else [image])

    dataset = (
        tf.data.Dataset.from_generator(read, output_signature=tf.TensorSpec([], tf.string))
        .map(views, num_parallel_calls=tf.data.AUTOTUNE, deterministic=True)
        .batch(batch_size)
        .map(lambda batch: tf.reshape(batch, [-1, *size, 3]))
        .prefetch(tf.data.AUTOTUNE)
    )
    with Progress(name, len(images)) as progress:
        advance = _Advance(progress, len(images), batch_size)
        try:
            rows = model.predict(dataset, verbose=0, callbacks=[advance])
        except tf.errors.OpError:
            _raise_for_undecodable(images, name, start=advance.done)
            raise
    embeddings = rows.astype(np.float32).reshape(len(images), -1, rows.shape[-1]).sum(axis=1)
    finite = np.isfinite(embeddings).all(axis=1)
    if not finite.all():
        raise InputError(
            f"verification set {name}: the model's embedding of image {np.argmin(finite)} is not finite "
            f"({np.sum(~finite)} of {len(images)} are not); use a checkpoint from before training diverged"
        )
    # In float64: the squares of a diverged network's embeddings overflow.
    norms = np.linalg.norm(embeddings.astype(np.float64), axis=1, keepdims=True)
    return (embeddings / np.where(norms > 0, norms, 1)).astype(np.float32)
