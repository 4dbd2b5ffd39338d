"""ONNX networks turned into checkpoints, with the proof that both give the same embeddings."""

import sys
from typing import Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.models.onnx_network import convert_onnx
from ddl_tf.runtimes.embedders import OnnxEmbedder

# Largest difference of a number of the unit embeddings.
_TOLERANCE = 1e-4


def convert_and_compare(
    path: str, mean: Optional[float] = None, scale: Optional[float] = None, order: str = "rgb"
) -> tuple[tf.keras.Model, float]:
    """Make the model of `convert_onnx`; also the largest difference of its unit embeddings from those of onnxruntime.

    Arguments are those of `OnnxEmbedder`. A difference that is too large is an InputError.
    """
    embedder = OnnxEmbedder(path, mean, scale, order=order)
    print(f"{path}: input {embedder.input_text}", file=sys.stderr)
    model = convert_onnx(path, embedder.mean, embedder.scale, order)
    images = np.random.default_rng(0).integers(0, 256, (4, *embedder.image_size, 3)).astype(np.uint8)
    embeddings = model(images.astype(np.float32)).numpy()
    difference = float(np.abs(tf.math.l2_normalize(embeddings, 1) - embedder.embed(images)).max())
    if not difference <= _TOLERANCE:
        raise InputError(
            f"{path}: the embeddings of the converted network differ by {difference:.1e} from those of onnxruntime, "
            f"where {_TOLERANCE:.0e} is allowed; export the network in another version of the operations, or use its "
            "embeddings (--embeddings)"
        )
    return model, difference
