"""Which lane of versions (docs/versions.md) the tests run in, and what a test needs that an environment may lack."""

from importlib.metadata import version
from importlib.util import find_spec

import pytest

from ddl_tf.common.keras_version import IS_KERAS_3

# TensorFlow after 2.15, with tf_keras or with Keras 3.
LATER_LANES = version("keras").startswith("3.")

HAS_TENSORFLOW_ADDONS = find_spec("tensorflow_addons") is not None

needs_tensorflow_addons = pytest.mark.skipif(
    not HAS_TENSORFLOW_ADDONS, reason="TensorFlow Addons is not installed: a lane of later versions"
)
needs_tf_keras = pytest.mark.skipif(not LATER_LANES or IS_KERAS_3, reason="a lane without the package tf_keras")
