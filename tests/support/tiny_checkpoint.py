"""Checkpoints of a tiny network, for images of SIDE pixels."""

import pytest
import tensorflow as tf
from tiny_network import TINY

from ddl_tf.models import build_recognizer, embedding_model, save_checkpoint
from ddl_tf.models.plain import PLAIN_NETS

SIDE, DIM = 24, 16


def write_checkpoint(path, seed=0):
    """Write a recognizer with other weights for each seed; return its embedding model."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLAIN_NETS, "plain_small", TINY)
        tf.keras.utils.set_random_seed(seed)
        model = build_recognizer("plain_small", 10, embedding_size=DIM, input_shape=(SIDE, SIDE, 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    save_checkpoint(model, path)
    return embedding_model(model)
