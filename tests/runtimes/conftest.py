"""Networks that are made once for all tests of runtimes, which do not change them."""

import pytest
from tiny_embedding import tiny_embedding


@pytest.fixture(scope="session")
def model():
    return tiny_embedding()


@pytest.fixture(scope="session")
def flatten_model():
    return tiny_embedding("flatten")
