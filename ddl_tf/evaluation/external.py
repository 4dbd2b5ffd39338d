"""Networks that were trained or converted elsewhere, as embedding models like our own."""

import sys
from pathlib import Path
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.runtimes.embedders import Embedder, OnnxEmbedder, TfliteEmbedder


class _Network(tf.keras.layers.Layer):
    """An embedder as a layer: images of values 0..255 RGB -> embeddings."""

    def __init__(self, embedder: Embedder) -> None:
        super().__init__(trainable=False)
        self._embedder = embedder

    def call(self, images: tf.Tensor) -> tf.Tensor:
        embedding = tf.numpy_function(self._embedder.run, [images], tf.float32)
        return tf.ensure_shape(embedding, [None, self._embedder.dim])

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        return tf.TensorShape([input_shape[0], self._embedder.dim])


def as_embedding_model(embedder: Embedder, name: str) -> tf.keras.Model:
    """Make an embedding model of what runs elsewhere, so that it can be evaluated.

    Args:
        embedder: what embeds.
        name: of the model.

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, as the embedder's `run` gives
        it.
    """
    image = tf.keras.Input([*embedder.image_size, 3])
    return tf.keras.Model(image, _Network(embedder)(image), name=name)


def load_onnx_embedding(
    path: str, mean: Optional[float] = None, scale: Optional[float] = None, order: str = "rgb"
) -> tf.keras.Model:
    """Load an ONNX network as an embedding model, and print what it is given; see `OnnxEmbedder`.

    Args:
        path: the `.onnx` file.
        mean: the network's input is (value - mean) / scale, of values 0..255; by default what the file or the network
            says, and 127.5 if they say nothing.
        scale: see `mean`; not 0.
        order: of the channels that the network takes, "rgb" or "bgr".

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, as the network gives it.

    Raises:
        InputError: if onnxruntime is not installed, or the file holds no network from images of one size to embeddings.

    Example:
        >>> model = load_onnx_embedding("w600k_r50.onnx")  # doctest: +SKIP
    """
    return _printed(path, OnnxEmbedder(path, mean, scale, order=order))


def _printed(path: str, embedder: Embedder) -> tf.keras.Model:
    print(f"{path}: input {embedder.input_text}", file=sys.stderr)
    return as_embedding_model(embedder, Path(path).stem)


def load_tflite_embedding(
    path: str, mean: Optional[float] = None, scale: Optional[float] = None, order: str = "rgb"
) -> tf.keras.Model:
    """Load a TensorFlow Lite model as an embedding model, and print what it is given; see `TfliteEmbedder`.

    Args:
        path: the `.tflite` file.
        mean: the network's input is (value - mean) / scale, of values 0..255; by default 0 and 1.
        scale: see `mean`; not 0.
        order: of the channels that the network takes, "rgb" or "bgr".

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, as the network gives it.

    Raises:
        InputError: if the file is missing, or holds no model from images of one size to embeddings.

    Example:
        >>> model = load_tflite_embedding("converted/model_int8.tflite")  # doctest: +SKIP
    """
    return _printed(path, TfliteEmbedder(path, mean=mean, scale=scale, order=order))
