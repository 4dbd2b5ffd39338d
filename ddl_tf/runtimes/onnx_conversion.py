"""ONNX networks turned into checkpoints, with the proof that both give the same embeddings."""

import sys
from typing import Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.models.onnx_network import convert_onnx
from ddl_tf.runtimes.embedders import OnnxEmbedder

# Largest difference of a number of the unit embeddings, and random images that are compared.
TOLERANCE, IMAGES = 1e-4, 4


def convert_and_compare(
    path: str, mean: Optional[float] = None, scale: Optional[float] = None, order: str = "rgb"
) -> tuple[tf.keras.Model, float]:
    """Turn an ONNX network into an embedding model, and compare its embeddings with those of onnxruntime.

    Args:
        path: the `.onnx` file.
        mean: the network's input is (value - mean) / scale; by default as for `OnnxEmbedder`.
        scale: see `mean`.
        order: of the channels that the network takes, "rgb" or "bgr".

    Returns:
        The model, as of `convert_onnx`, and the largest difference of a number of the embeddings of unit norm.

    Raises:
        InputError: as `OnnxEmbedder` and `convert_onnx`, or if the embeddings differ.
    """
    embedder = OnnxEmbedder(path, mean, scale, order=order)
    print(f"{path}: input {embedder.input_text}", file=sys.stderr)
    model = convert_onnx(path, embedder.mean, embedder.scale, order)
    images = np.random.default_rng(0).integers(0, 256, (IMAGES, *embedder.image_size, 3)).astype(np.uint8)
    embeddings = model(images.astype(np.float32)).numpy()
    difference = float(np.abs(tf.math.l2_normalize(embeddings, 1) - embedder.embed(images)).max())
    if not difference <= TOLERANCE:
        raise InputError(
            f"{path}: the embeddings of the converted network differ by {difference:.1e} from those of onnxruntime, "
            f"where {TOLERANCE:.0e} is allowed; export the network in another version of the operations, or use its "
            "embeddings (--embeddings)"
        )
    return model, difference
