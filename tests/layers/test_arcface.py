import math

import numpy as np
import pytest
import tensorflow as tf
from naive_heads import at_cosines, naive_logits, naive_margin

from ddl_tf.layers import ArcFace, CombinedMargin, CosFace, MagFace, MarginHead

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
HEADS = [
    *((CombinedMargin(7, *margins), margins) for margins in MARGINS),
    (ArcFace(7, 0.4), (1.0, 0.4, 0.0)),
    (CosFace(7, 0.25, scale=30.0), (1.0, 0.0, 0.25)),
    (MarginHead(7), (1.0, 0.0, 0.0)),
]


@pytest.mark.parametrize("head, margins", HEADS)
def test_equals_the_naive_twin(head, margins):
    embeddings = np.random.default_rng(0).normal(size=[6, 5]).astype(np.float32)
    logits = head(embeddings, LABELS)
    expected = naive_logits(
        embeddings,
        head.class_centers.numpy(),
        LABELS,
        lambda row, theta: naive_margin(theta, *margins),
        scale=head.scale,
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)


def test_falls_strictly_with_the_angle():
    heads = [(CombinedMargin(2, *margins, scale=1.0), 1.0) for margins in MARGINS]
    heads += [(MagFace(2, scale=1.0, u_margin=3.0), norm) for norm in (1.0, 30.0, 110.0, 500.0)]
    for head, norm in heads:
        logits = head(*at_cosines(head, np.cos(np.linspace(0, math.pi, 500)), norm))
        assert np.all(np.diff(logits[:, 0].numpy()) < 0), (head.get_config(), norm)


def test_the_gradient_pulls_towards_the_center_even_opposite_to_it():
    head = CombinedMargin(2, m2=0.5, scale=1.0)
    embeddings, labels = at_cosines(head, np.cos(np.linspace(0.1, 3.1, 30)))
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        target = tf.reduce_sum(head(embeddings, labels)[:, 0])
    assert np.all(tape.gradient(target, embeddings)[:, 0] > 0)
