"""A network that is made once for all tests of runtimes, which do not change it."""

import pytest
from tiny_embedding import tiny_embedding


@pytest.fixture(scope="session")
def model():
    return tiny_embedding()
