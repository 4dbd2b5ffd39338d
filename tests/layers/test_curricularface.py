import numpy as np
import pytest
from naive_heads import naive_cosine, naive_logits, naive_margin

from ddl_tf.layers import CurricularFace

LABELS = np.array([0, 3, -1, 6, 6, -1])


def batches():
    return np.random.default_rng(0).normal(size=[2, 6, 5]).astype(np.float32)


def test_equals_the_naive_twin():
    """`t` learns from both batches, each before its own logits, and then rests."""
    head = CurricularFace(7, margin=0.4, scale=30.0, momentum=0.9)
    t = 0.0
    for embeddings, training in zip([*batches(), batches()[0]], (True, True, False)):
        logits = head(embeddings, LABELS, training=training)
        centers = head.class_centers.numpy()
        cosines = [naive_cosine(embeddings[row], centers[:, LABELS[row]]) for row in range(6) if LABELS[row] >= 0]
        if training:
            t = 0.9 * t + 0.1 * sum(cosines) / len(cosines)

        def other(row, cosine, of_target, t=t):
            return cosine * (t + cosine) if cosine > of_target else cosine

        expected = naive_logits(
            embeddings, centers, LABELS, lambda row, theta: naive_margin(theta, m2=0.4), other, scale=30.0
        )
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        assert float(head.t) == pytest.approx(t, rel=1e-5)
    assert t != 0.0
