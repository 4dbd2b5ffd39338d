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


def test_a_class_below_the_target_is_left_alone():
    head = CurricularFace(2)
    head.build([None, 2])
    head.class_centers.assign([[1.0, 0.0], [0.0, 1.0]])
    head.t.assign(0.3)
    logits = head(np.array([[0.9, 0.3], [0.3, 0.9]], np.float32), np.array([0, 0])).numpy() / 64.0
    other = np.array([0.3, 0.9]) / np.hypot(0.9, 0.3)
    np.testing.assert_allclose(logits[:, 1], [other[0], other[1] * (0.3 + other[1])], rtol=1e-5)


@pytest.mark.parametrize("momentum", [1.0, -0.1])
def test_bad_momentum(momentum):
    with pytest.raises(ValueError, match=rf"momentum must be in \[0, 1\), got {momentum}"):
        CurricularFace(3, momentum=momentum)
