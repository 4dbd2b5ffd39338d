"""A tiny model with all signatures."""

from pathlib import Path

import tensorflow as tf

from ddl_tf.models import build_recognizer, embedding_model
from ddl_tf.serving import Threshold, export_model


def export_tiny(folder: Path, seed: int, threshold: float) -> Path:
    """Export a network of its own for each seed: `faces/1`, then `faces/2`."""
    tf.keras.utils.set_random_seed(seed)
    model = embedding_model(build_recognizer("plain_small", 10, embedding_size=64, input_shape=(32, 32, 3)))
    return export_model(model, "faces", str(folder), threshold=Threshold(threshold, 0.01, "pairs", "pairs", {}))
