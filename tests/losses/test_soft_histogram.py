"""Binned distributions against the formula in float64, every similarity with every node."""

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.losses import distribution_distillation, similarity_distribution
from ddl_tf.losses.soft_histogram import LARGEST_EXPONENT, Binning


def exact(values, num_nodes, low, high, bandwidth):
    """The distribution `[nodes]`, and its derivative by each value `[values, nodes]`."""
    distance = values[:, None].astype(np.float64) - (low + np.arange(num_nodes) * (high - low) / num_nodes)
    exponents = -0.5 * (distance / bandwidth) ** 2
    kernels = np.exp(exponents - exponents.max())
    slopes = -distance / bandwidth**2 * kernels
    histogram = kernels.sum(0) / kernels.sum()
    return histogram, (slopes - histogram * slopes.sum(1, keepdims=True)) / kernels.sum()


def exact_kl(teacher, student, *arguments):
    """KL(teacher || student) and its derivatives by the values of either."""
    (p, of_p), (q, of_q) = exact(teacher, *arguments), exact(student, *arguments)
    p, q = p + 1e-9, q + 1e-9
    return np.sum(p * np.log(p / q)), of_p @ (np.log(p / q) + 1), of_q @ (-p / q)


def binned_kl(teacher, student, num_nodes, low, high, bandwidth):
    values = [tf.Variable(x) for x in (teacher, student)]
    with tf.GradientTape() as tape:
        terms = distribution_distillation(values, values, 1.0, 0.0, 0.0, num_nodes, (low, high), bandwidth)
    return (float(terms.positive_kl), *(x.numpy() for x in tape.gradient(terms.loss, values)))


@pytest.mark.parametrize(
    "bandwidth, num_nodes, similarity_range",
    [
        *((0.01, 1000, ends) for ends in ((0.0, 1.0), (-0.5, 0.5))),
        *((0.03, 10, ends) for ends in ((0.0, 1.0), (-1.0, 1.0))),
        *((0.1, 100, ends) for ends in ((0.0, 1.0), (-0.5, 0.5))),
        (0.3, 1000, (-1.0, 1.0)),
    ],
)
def test_value_and_gradient_are_those_of_the_formula(bandwidth, num_nodes, similarity_range):
    for size in (1, 20, 3000):
        random = np.random.default_rng(size)
        # Some lie outside of the range, some on the ends of [-1, 1].
        teacher, student = (np.clip(random.normal(mean, 0.3, size), -1, 1).astype(np.float32) for mean in (0.6, 0.2))
        arguments = (num_nodes, *similarity_range, bandwidth)
        distribution = similarity_distribution(teacher, num_nodes, similarity_range, bandwidth).numpy()
        expected = exact(teacher, *arguments)[0]
        np.testing.assert_allclose(distribution, expected, atol=1e-5 * expected.max())
        assert distribution.min() >= 0.0
        if (similarity_range[1] - similarity_range[0]) / num_nodes > 3 * bandwidth and size < 3000:
            # A histogram with holes: with few similarities the gradient is that of what lies in them, next to nothing.
            continue
        value, *gradients = binned_kl(teacher, student, *arguments)
        right, *right_gradients = exact_kl(teacher, student, *arguments)
        assert value == pytest.approx(right, rel=1e-5, abs=2e-6)
        for gradient, expected in zip(gradients, right_gradients):
            # Next to nothing, 1e-5 of what a KL of that size changes by over a bandwidth, is rounding.
            np.testing.assert_allclose(
                gradient, expected, atol=1e-3 * np.abs(expected).max() + 1e-5 * right / bandwidth
            )


@pytest.mark.parametrize(
    "values, arguments",
    [
        *(
            (values, (1000, 0.0, 1.0, bandwidth))
            for values in ([-0.2], [-0.5, -0.45], [-0.9, -0.95], [-0.3, 0.9], [-1.0, -1.0])
            for bandwidth in (0.02, 0.05)
        ),
        # Cosines that rounding puts outside.
        ([1 + 2e-7], (100, -1.0, 1.0, 0.1)),
        ([-1 - 2e-7], (100, -1.0, 1.0, 0.1)),
    ],
)
def test_far_from_all_nodes_and_just_outside(values, arguments):
    variable, nodes = tf.Variable(values, dtype=tf.float32), np.arange(float(arguments[0]))
    expected, slopes = exact(variable.numpy(), *arguments)
    with tf.GradientTape() as tape:
        distribution = similarity_distribution(variable, arguments[0], arguments[1:3], arguments[3])
        mean = tf.reduce_sum(distribution * nodes.astype(np.float32))
    np.testing.assert_allclose(distribution, expected, atol=2e-5 * expected.max())
    right = slopes @ nodes
    np.testing.assert_allclose(tape.gradient(mean, variable), right, atol=1e-3 * np.abs(right).max())


def test_between_nodes_that_are_many_bandwidths_apart():
    # 0.55 has the same distance to two nodes, 50 bandwidths; 0.551 is nearer to one of them.
    np.testing.assert_allclose(
        similarity_distribution([0.151, 0.149], 10, bandwidth=0.001)[:4], [0, 0.5, 0.5, 0], atol=1e-3
    )


def test_nan_shows():
    assert np.all(np.isnan(similarity_distribution([0.5, np.nan])))


@pytest.mark.parametrize("bandwidth", [0.001, 0.01, 0.1])
def test_the_log_factor_keeps_the_largest_exponent_from_underflow(bandwidth):
    values = np.linspace(-1, 1, 41)
    exponent = 0.5 * (np.abs(values[:, None] - np.arange(100) / 100).min(axis=1) / bandwidth) ** 2
    left = exponent + Binning(100, (0.0, 1.0), bandwidth).log_factor(tf.constant(values, tf.float32)).numpy()
    rounding = 1e-6 + 1e-6 * exponent
    assert np.all((-rounding <= left) & (left <= LARGEST_EXPONENT + rounding))
    np.testing.assert_allclose(left[exponent <= 2], exponent[exponent <= 2], atol=1e-2)
