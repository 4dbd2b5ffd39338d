"""A tiny model with all signatures, in two versions of different networks."""

import functools
import tempfile
from pathlib import Path

import pytest
import tensorflow as tf
from tiny_network import TINY

from ddl_tf.models import build_embedding_model
from ddl_tf.models.plain import PLAIN_NETS
from ddl_tf.serving import Threshold, export_model

DIM, THRESHOLD = 16, 0.6
# It goes with the process.
_FOLDER = tempfile.TemporaryDirectory()


@functools.cache
def exported_faces() -> Path:
    """`faces/1` and `faces/2`, made once for all tests of a process."""
    threshold = Threshold(THRESHOLD, 0.01, "pairs", "pairs", {})
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLAIN_NETS, "plain_small", TINY)
        for seed in (1, 2):
            tf.keras.utils.set_random_seed(seed)
            model = build_embedding_model("plain_small", DIM, (16, 16, 3))
            export_model(model, "faces", _FOLDER.name, threshold=threshold)
    return Path(_FOLDER.name) / "faces"
