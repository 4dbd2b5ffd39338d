import pytest
from tiny_network import tiny_network  # noqa: F401
from tiny_sets import list_source, samples


@pytest.fixture
def tiny_samples():
    return list_source(samples(10))
