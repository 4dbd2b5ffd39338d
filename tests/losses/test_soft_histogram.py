"""Binned distributions against the formula in float64, every similarity with every node."""

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.losses import similarity_distribution
from ddl_tf.losses.soft_histogram import LARGEST_EXPONENT, Binning


def exact(values, num_nodes, low, high, bandwidth):
    """The distribution `[nodes]`, and its derivative by each value `[values, nodes]`."""
    distance = values[:, None].astype(np.float64) - (low + np.arange(num_nodes) * (high - low) / num_nodes)
    exponents = -0.5 * (distance / bandwidth) ** 2
    kernels = np.exp(exponents - exponents.max())
    slopes = -distance / bandwidth**2 * kernels
    histogram = kernels.sum(0) / kernels.sum()
    return histogram, (slopes - histogram * slopes.sum(1, keepdims=True)) / kernels.sum()


def drawn(size):
    """Some lie outside of the range, some on the ends of [-1, 1]."""
    return np.clip(np.random.default_rng(size).normal(0.4, 0.5, size), -1, 1)


@pytest.mark.parametrize(
    "values, arguments",
    [
        *((drawn(3000), (num_nodes, 0.0, 1.0, bandwidth)) for num_nodes, bandwidth in ((10, 0.03), (1000, 0.3))),
        *((drawn(size), (1000, -0.5, 0.5, 0.01)) for size in (1, 20, 3000)),
        # Far from all nodes.
        *((values, (1000, 0.0, 1.0, 0.02)) for values in ([-0.2], [-0.9, -0.95], [-0.3, 0.9], [-1.0, -1.0])),
        # Cosines that rounding puts outside.
        *(([value], (100, -1.0, 1.0, 0.1)) for value in (1 + 2e-7, -1 - 2e-7)),
    ],
)
def test_value_and_gradient_are_those_of_the_formula(values, arguments):
    variable, nodes = tf.Variable(values, dtype=tf.float32), np.arange(float(arguments[0]))
    expected, slopes = exact(variable.numpy(), *arguments)
    with tf.GradientTape() as tape:
        distribution = similarity_distribution(variable, arguments[0], arguments[1:3], arguments[3])
        mean = tf.reduce_sum(distribution * nodes.astype(np.float32))
    np.testing.assert_allclose(distribution, expected, atol=2e-5 * expected.max())
    assert np.all(distribution >= 0.0)
    right = slopes @ nodes
    np.testing.assert_allclose(tape.gradient(mean, variable), right, atol=1e-3 * np.abs(right).max())


@pytest.mark.parametrize("bandwidth", [0.001, 0.1])
def test_the_log_factor_keeps_the_largest_exponent_from_underflow(bandwidth):
    values = np.linspace(-1, 1, 41)
    exponent = 0.5 * (np.abs(values[:, None] - np.arange(100) / 100).min(axis=1) / bandwidth) ** 2
    left = exponent + Binning(100, (0.0, 1.0), bandwidth).log_factor(tf.constant(values, tf.float32)).numpy()
    rounding = 1e-6 + 1e-6 * exponent
    assert np.all((-rounding <= left) & (left <= LARGEST_EXPONENT + rounding))
    np.testing.assert_allclose(left[exponent <= 2], exponent[exponent <= 2], atol=1e-2)
