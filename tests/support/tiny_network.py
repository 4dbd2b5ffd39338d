"""A few small layers in the place of plain_small, for the modules that import this fixture."""

import pytest

from ddl_tf.models.plain import PLAIN_NETS

TINY = ((8, 0), (8, 1))


@pytest.fixture(scope="module", autouse=True)
def tiny_network():
    """It is quick to trace, which is most of what a test of a run takes."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(PLAIN_NETS, "plain_small", TINY)
        yield
