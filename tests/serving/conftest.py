"""One tiny exported model with all signatures, which the tests of serving share."""

import pytest
import tensorflow as tf
from tiny_embedding import tiny_embedding

from ddl_tf.serving import Threshold, export_model


@pytest.fixture(scope="session")
def embedder():
    return tiny_embedding()


@pytest.fixture(scope="session")
def exported(embedder, tmp_path_factory):
    threshold = Threshold(0.9, 0.01, "lfw", "pairs", {})
    return export_model(embedder, "faces", str(tmp_path_factory.mktemp("models")), threshold=threshold)


@pytest.fixture(scope="session")
def served(exported):
    """The loaded model; it must outlive its signatures."""
    return tf.saved_model.load(str(exported))
