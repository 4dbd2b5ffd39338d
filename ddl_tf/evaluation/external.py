"""Networks that were trained or converted elsewhere, as embedding models like our own."""

from pathlib import Path
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.serving.embedders import Embedder, OnnxEmbedder, TfliteEmbedder


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


def load_onnx_embedding(path: str, mean: Optional[float] = None, scale: Optional[float] = None) -> tf.keras.Model:
    """Load an ONNX network as an embedding model; see `OnnxEmbedder`.

    Args:
        path: the `.onnx` file.
        mean: the network's input is (value - mean) / scale, of RGB values 0..255; by default what the file says, and
            127.5 if it says nothing.
        scale: see `mean`; not 0.

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, as the network gives it.

    Raises:
        InputError: if onnxruntime is not installed, or the file holds no network from images of one size to embeddings.

    Example:
        >>> model = load_onnx_embedding("w600k_r50.onnx")  # doctest: +SKIP
    """
    return as_embedding_model(OnnxEmbedder(path, mean, scale), Path(path).stem)


def load_tflite_embedding(path: str) -> tf.keras.Model:
    """Load a TensorFlow Lite model as an embedding model; see `TfliteEmbedder`.

    Args:
        path: the `.tflite` file.

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, as the network gives it.

    Raises:
        InputError: if the file is missing, or holds no model from images of one size to embeddings.

    Example:
        >>> model = load_tflite_embedding("converted/model_int8.tflite")  # doctest: +SKIP
    """
    return as_embedding_model(TfliteEmbedder(path), Path(path).stem)
