"""What holds for any numbers: DDL on inputs that nobody chose."""

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from keras_case import loss_and_gradient

from ddl_tf.losses import DDLLoss

EMBEDDINGS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.floats(-100, 100, width=32)
)


@settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(EMBEDDINGS, st.integers(0, 2**31))
def test_ddl(embeddings, seed):
    random = np.random.default_rng(seed)
    rows = np.stack([random.integers(0, 4, len(embeddings)), random.integers(-1, 3, len(embeddings))], axis=1)
    order = random.permutation(len(embeddings))
    value, gradient = loss_and_gradient(DDLLoss(), rows, embeddings)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert float(DDLLoss()(rows[order], embeddings[order])) == pytest.approx(value, rel=1e-4, abs=1e-5)
