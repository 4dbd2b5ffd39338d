"""Which lane of versions (docs/versions.md) the tests run in, and what a test needs that an environment may lack."""

from importlib.metadata import version
from importlib.util import find_spec

import pytest

SECOND_LANE = version("keras").startswith("3.")

HAS_TENSORFLOW_ADDONS = find_spec("tensorflow_addons") is not None

needs_tensorflow_addons = pytest.mark.skipif(
    not HAS_TENSORFLOW_ADDONS, reason="TensorFlow Addons is not installed: the second lane of versions"
)
needs_keras_3 = pytest.mark.skipif(not SECOND_LANE, reason="Keras 3 is not installed: the first lane of versions")
