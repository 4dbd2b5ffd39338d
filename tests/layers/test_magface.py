import numpy as np
import pytest
from naive_heads import naive_logits, naive_margin

from ddl_tf.layers import MagFace

LABELS = np.array([0, 3, -1, 6, 6, -1])
NORMS = [5.0, 10.0, 40.0, 70.0, 109.0, 300.0]


def embeddings_of_norms():
    directions = np.random.default_rng(0).normal(size=[6, 5])
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return (directions * np.array(NORMS)[:, np.newaxis]).astype(np.float32)


def test_equals_the_naive_twin():
    head = MagFace(7)
    logits = head(embeddings_of_norms(), LABELS)
    expected = naive_logits(
        embeddings_of_norms(),
        head.class_centers.numpy(),
        LABELS,
        lambda row, theta: naive_margin(theta, m2=0.45 + 0.35 * (np.clip(NORMS[row], 10, 110) - 10) / 100),
    )
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)


def test_the_regulariser_is_that_of_the_labelled_rows():
    head = MagFace(7, lambda_g=3.0)
    head(embeddings_of_norms(), LABELS)
    labelled = [min(max(norm, 10.0), 110.0) for norm, label in zip(NORMS, LABELS) if label >= 0]
    expected = 3.0 * sum(1 / norm + norm / 110.0**2 for norm in labelled) / len(labelled)
    (loss,) = head.losses
    assert float(loss) == pytest.approx(expected, rel=1e-5)
    assert float(head.magnitude_loss.result()) == pytest.approx(expected, rel=1e-5)
    head(embeddings_of_norms())
    assert head.losses == []
