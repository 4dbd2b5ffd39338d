import math

import numpy as np
import pytest
import tensorflow as tf
from naive_heads import at_cosines, naive_logits, naive_margin

from ddl_tf.layers import ArcFace, CombinedMargin, CosFace, MarginHead

MARGINS = [
    (1.0, 0.5, 0.0),
    (1.0, 1.2, 0.0),
    (1.0, 0.0, 0.35),
    (1.0, 3.0, 0.0),
    (0.9, 0.4, 0.15),
    (1.35, 0.0, 0.0),
    (4.0, 0.2, 0.1),
]
LABELS = np.array([0, 3, -1, 6, 6, -1])


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=[6, 5]).astype(np.float32)


@pytest.mark.parametrize("m1, m2, m3", MARGINS)
def test_equals_the_naive_twin(embeddings, m1, m2, m3):
    head = CombinedMargin(7, m1, m2, m3, scale=30.0)
    logits = head(embeddings, LABELS)
    expected = naive_logits(
        embeddings, head.class_centers.numpy(), LABELS, lambda row, theta: naive_margin(theta, m1, m2, m3), scale=30.0
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_named_heads_are_the_combined_margin(embeddings):
    for head, margins in (
        (ArcFace(7, 0.4), (1.0, 0.4, 0.0)),
        (CosFace(7, 0.25), (1.0, 0.0, 0.25)),
        (MarginHead(7), (1, 0, 0)),
    ):
        logits = head(embeddings, LABELS)
        expected = naive_logits(
            embeddings, head.class_centers.numpy(), LABELS, lambda row, theta, of=margins: naive_margin(theta, *of)
        )
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)


def test_arcface_is_insightface_formula():
    """losses.py of arcface_torch: cos(acos(target) + m), times the scale; it has no fallback past pi."""
    cosines = np.cos(np.linspace(0.01, math.pi - 0.5, 200))
    head = CombinedMargin(2, m2=0.5, scale=1.0)
    logits = head(*at_cosines(head, cosines))
    np.testing.assert_allclose(logits[:, 0], np.cos(np.arccos(cosines) + 0.5), atol=2e-5)


def test_arcface_falls_back_as_the_classic_one():
    cosines = np.cos(np.linspace(math.pi - 0.49, math.pi, 50))
    head = CombinedMargin(2, m2=0.5, scale=1.0)
    logits = head(*at_cosines(head, cosines))
    np.testing.assert_allclose(logits[:, 0], cosines - 0.5 * math.sin(0.5), atol=1e-5)


@pytest.mark.parametrize("m1, m2, m3", MARGINS)
def test_falls_strictly_with_the_angle(m1, m2, m3):
    head = CombinedMargin(2, m1, m2, m3, scale=1.0)
    logits = head(*at_cosines(head, np.cos(np.linspace(0, math.pi, 500))))
    assert np.all(np.diff(logits[:, 0].numpy()) < 0)


def test_the_gradient_pulls_towards_the_center_even_opposite_to_it():
    head = CombinedMargin(2, m2=0.5, scale=1.0)
    embeddings, labels = at_cosines(head, np.cos(np.linspace(0.1, 3.1, 30)))
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        target = tf.reduce_sum(head(embeddings, labels)[:, 0])
    assert np.all(tape.gradient(target, embeddings)[:, 0] > 0)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: CombinedMargin(3, m1=0.0), "m1 must be above 0 and finite, got 0.0"),
        (lambda: CombinedMargin(3, m3=-0.1), r"m3 must be in \[0, 2\), got -0.1"),
        (lambda: ArcFace(3, margin=3.2), r"m2 must be an angle in \[0, pi\), got 3.2"),
        (lambda: ArcFace(3, margin=float("nan")), "got nan"),
        (lambda: CosFace(3, margin=-0.35), r"margin must be in \[0, 2\), got -0.35"),
        (lambda: CosFace(3, margin=10.0), r"margin must be in \[0, 2\), got 10.0"),
        (lambda: CombinedMargin(3, m3=float("inf")), r"m3 must be in \[0, 2\), got inf"),
        (lambda: CombinedMargin(3, m1=float("inf")), "m1 must be above 0 and finite, got inf"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
