import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "data"))
from tiny_sets import list_source, samples


@pytest.fixture
def tiny_samples():
    return list_source(samples(10))
