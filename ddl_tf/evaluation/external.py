"""Networks that were trained elsewhere, as embedding models like our own."""

from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from ddl_tf.errors import InputError

# What InsightFace's ArcFace networks take: (value - 127.5) / 127.5.
INPUT_MEAN, INPUT_SCALE = 127.5, 127.5


class _OnnxNetwork(tf.keras.layers.Layer):
    """An ONNX network as a layer: images of values 0..255 RGB -> embeddings."""

    def __init__(self, session: Any, channels_first: bool, mean: float, scale: float, dim: int) -> None:
        super().__init__(trainable=False)
        self._session, self._channels_first, self._mean, self._scale, self._dim = (
            session,
            channels_first,
            mean,
            scale,
            dim,
        )

    def _run(self, images: np.ndarray) -> np.ndarray:
        given = self._session.get_inputs()[0]
        one_by_one = given.shape[0] == 1
        parts = np.split(images, len(images)) if one_by_one else [images]
        return np.concatenate([self._session.run(None, {given.name: part})[0] for part in parts]).astype(np.float32)

    def call(self, images: tf.Tensor) -> tf.Tensor:
        scaled = (tf.cast(images, tf.float32) - self._mean) / self._scale
        if self._channels_first:
            scaled = tf.transpose(scaled, [0, 3, 1, 2])
        embedding = tf.numpy_function(self._run, [scaled], tf.float32)
        return tf.ensure_shape(embedding, [None, self._dim])

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        return tf.TensorShape([input_shape[0], self._dim])


def load_onnx_embedding(path: str, mean: float = INPUT_MEAN, scale: float = INPUT_SCALE) -> tf.keras.Model:
    """Load an ONNX network as an embedding model.

    It runs on the CPU by onnxruntime. Whether images are `[batch, 3, height, width]` or `[batch, height, width, 3]` is
    seen from the network's input. Of several outputs the first is the embedding.

    Args:
        path: the `.onnx` file.
        mean: the network's input is (value - mean) / scale, of RGB values 0..255.
        scale: see `mean`; not 0.

    Returns:
        image `[batch, height, width, 3]`, values 0..255 RGB -> embedding `[batch, dim]`, as the network gives it.

    Raises:
        InputError: if onnxruntime is not installed, or the file holds no network from images of one size to embeddings.

    Example:
        >>> model = load_onnx_embedding("w600k_r50.onnx")  # doctest: +SKIP
    """
    try:
        import onnxruntime
    except ImportError:
        raise InputError(f"{path}: ONNX networks need onnxruntime; pip install onnxruntime") from None
    if scale == 0:
        raise InputError("input scale 0: the network's input is (value - mean) / scale")
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    try:
        session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime has many kinds of its own, without a common one
        raise InputError(f"{path}: onnxruntime cannot load it ({error}); export the network again") from None
    inputs, output = session.get_inputs(), session.get_outputs()[0]
    shape = inputs[0].shape
    places = [place for place in (1, 3) if len(shape) == 4 and shape[place] == 3]
    sizes = [side for side in shape[1:] if side != 3 or not places]
    if len(inputs) != 1 or len(places) != 1 or not all(isinstance(side, int) for side in sizes):
        raise InputError(
            f"{path}: takes {[one.shape for one in inputs]}, where one [batch, 3, height, width] or "
            "[batch, height, width, 3] of fixed size is expected; export it for images of one size"
        )
    if len(output.shape) != 2 or not isinstance(output.shape[1], int):
        raise InputError(f"{path}: its first output is {output.shape}, where [batch, dim] is expected")
    channels_first = places == [1]
    height, width = shape[2:] if channels_first else shape[1:3]
    image = tf.keras.Input([height, width, 3])
    network = _OnnxNetwork(session, channels_first, mean, scale, output.shape[1])
    return tf.keras.Model(image, network(image), name=Path(path).stem)
