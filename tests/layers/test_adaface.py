import math

import numpy as np
import pytest
from naive_heads import at_cosines, naive_logits, naive_margin

from ddl_tf.layers import AdaFace

LABELS = np.array([0, 3, -1, 6, 6, -1])


def batches():
    random = np.random.default_rng(0)
    directions = random.normal(size=[2, 6, 5])
    # Norms over which the quality goes from -1 to 1; one is above the largest that counts, 100.
    return (directions * random.permutation([1.0, 4.0, 9.0, 15.0, 30.0, 200.0])[:, np.newaxis]).astype(np.float32)


@pytest.mark.parametrize("t_alpha", [0.01, 0.3, 1.0])
def test_equals_the_naive_twin(t_alpha):
    """The statistics learn from both batches, each before its own logits, and then rest."""
    head = AdaFace(7, margin=0.6, h=0.8, t_alpha=t_alpha, scale=30.0)
    mean, std = 20.0, 100.0
    for embeddings, training in zip([*batches(), batches()[0]], (True, True, False)):
        logits = head(embeddings, LABELS, training=training)
        norms = [min(max(math.sqrt(sum(float(x) ** 2 for x in row)), 0.001), 100.0) for row in embeddings]
        if training:
            labelled = [norm for norm, label in zip(norms, LABELS) if label >= 0]
            mean = t_alpha * np.mean(labelled) + (1 - t_alpha) * mean
            std = t_alpha * np.std(labelled, ddof=1) + (1 - t_alpha) * std

        def target(row, theta, norms=norms, mean=mean, std=std):
            quality = min(max(0.8 * (norms[row] - mean) / (std + 0.001), -1.0), 1.0)
            return naive_margin(theta, m2=-0.6 * quality, m3=0.6 + 0.6 * quality)

        expected = naive_logits(embeddings, head.class_centers.numpy(), LABELS, target, scale=30.0)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
        assert float(head.norm_mean) == pytest.approx(mean, rel=1e-5)
        assert float(head.norm_std) == pytest.approx(std, rel=1e-5)


def test_a_single_labelled_row_has_no_deviation():
    head = AdaFace(7)
    head(batches()[0], np.array([-1, -1, 3, -1, -1, -1]), training=True)
    assert (float(head.norm_mean), float(head.norm_std)) == (20.0, 100.0)


@pytest.mark.parametrize("norm", [1.0, 15.0, 20.0, 25.0, 60.0])
def test_falls_with_the_angle_and_is_flat_only_where_the_margin_is_negative(norm):
    head = AdaFace(2, scale=1.0)
    angles = np.linspace(0, math.pi, 500)
    embeddings, labels = at_cosines(head, np.cos(angles), norm)
    head.norm_std.assign(5.0)
    target = head(embeddings, labels)[:, 0].numpy()
    angle = 0.4 * min(max(0.333 * (norm - 20.0) / 5.001, -1.0), 1.0)
    flat = angles[1:] < angle
    np.testing.assert_allclose(target[1:][flat], 1.0 - 0.4 - angle, atol=1e-5)
    assert np.all(np.diff(target)[~flat] < 0)
