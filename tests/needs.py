"""What a test needs that an environment may lack."""

from importlib.util import find_spec

import pytest

needs_tensorflow_addons = pytest.mark.skipif(
    find_spec("tensorflow_addons") is None, reason="TensorFlow Addons is not installed: the second lane of versions"
)
