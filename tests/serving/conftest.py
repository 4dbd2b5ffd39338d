"""One tiny exported model with all signatures, which the tests of serving share."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import TINY

from ddl_tf.models import build_embedding_model
from ddl_tf.models.plain import PLAIN_NETS
from ddl_tf.serving import Threshold, export_model

SIDE, DIM = 16, 16


@pytest.fixture(scope="session")
def embedder():
    """Its batch norms have statistics as after training, so that embeddings of different images differ."""
    tf.keras.utils.set_random_seed(0)
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLAIN_NETS, "plain_small", TINY)
        model = build_embedding_model("plain_small", DIM, (SIDE, SIDE, 3))
    for layer in model._flatten_layers():
        if isinstance(layer, tf.keras.layers.BatchNormalization):
            layer.moving_mean.assign(tf.random.normal(layer.moving_mean.shape, stddev=0.1))
    noise = np.random.RandomState(0).randint(0, 256, [20, 3, 3, 3]).astype(np.float32)
    embeddings = model(tf.image.resize(noise, [SIDE, SIDE], "bicubic"))
    norm = model.get_layer("neck").embedding_norm
    norm.moving_mean.assign_add(tf.reduce_mean(embeddings, 0) * tf.sqrt(norm.moving_variance + norm.epsilon))
    return model


@pytest.fixture(scope="session")
def exported(embedder, tmp_path_factory):
    threshold = Threshold(0.9, 0.01, "lfw", "pairs", {"folder": "evaluations/ddl", "far": 0.0099})
    folder = str(tmp_path_factory.mktemp("models"))
    return export_model(embedder, "faces", folder, threshold=threshold, checkpoint="a.keras")


@pytest.fixture(scope="session")
def served(exported):
    """The loaded model; it must outlive its signatures."""
    return tf.saved_model.load(str(exported))
