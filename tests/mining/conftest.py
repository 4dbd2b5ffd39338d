import pytest
from tiny_network import tiny_network  # noqa: F401
from tiny_sets import samples, store


@pytest.fixture
def two_sets(tmp_path):
    for name in ("a", "b"):
        store(samples(24, images_per_identity=6), tmp_path / name)
    return [str(tmp_path / name) for name in ("a", "b")]
