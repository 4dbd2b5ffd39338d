"""What holds for any numbers: DDL on inputs that nobody chose."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ddl_tf.losses import DDLLoss

EMBEDDINGS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.floats(-100, 100, width=32)
)


@settings(max_examples=12, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck))
@given(EMBEDDINGS, st.integers(0, 2**31))
def test_ddl(embeddings, seed):
    random = np.random.default_rng(seed)
    rows = np.stack([random.integers(0, 4, len(embeddings)), random.integers(-1, 3, len(embeddings))], axis=1)
    loss = DDLLoss()

    def value_and_gradient(order):
        inputs = tf.constant(embeddings[order])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(tf.constant(rows[order]), inputs)
        return float(value), tape.gradient(value, inputs).numpy()

    order = random.permutation(len(embeddings))
    value, gradient = value_and_gradient(np.arange(len(embeddings)))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert value_and_gradient(order)[0] == pytest.approx(value, rel=1e-4, abs=1e-5)
