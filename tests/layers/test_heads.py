"""The margins, against one row and one class after the other in float64, and against the authors' code."""

import math
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from test_margin import naive_cosine

from ddl_tf.layers import AdaFace, ArcFace, CombinedMargin, CosFace, CurricularFace, MagFace, SubCenterArcFace

LABELS = np.array([0, 3, -1, 6, 6, -1])
# Norms over which the quality goes from -1 to 1; one is above the largest that counts, 100.
NORMS = np.array([4.0, 9.0, 1.0, 30.0, 200.0, 15.0])


def batches():
    directions = np.random.default_rng(0).normal(size=[2, 6, 5])
    directions *= np.stack([NORMS, NORMS[::-1]])[..., np.newaxis] / np.linalg.norm(directions, axis=2, keepdims=True)
    return directions.astype(np.float32)


def naive_margin(theta, m1=1.0, m2=0.0, m3=0.0):
    """cos(m1 * theta + m2) - m3, and what it is continued by."""
    if m1 * theta + m2 <= math.pi:
        return math.cos(max(m1 * theta + m2, 0.0)) - m3
    turn = math.cos((math.pi - m2) / m1)
    return math.cos(theta) - max(m2 * math.sin(m2), 1 + turn) - m3


def assert_logits(logits, embeddings, head, target, other=lambda cosine, of_target: cosine):
    """`target(row, theta)` is the target's cosine with margin, `other` that of another class of a labelled row."""
    centers = head.class_centers.numpy().reshape([5, 7, -1])
    for row, embedding in enumerate(embeddings):
        cosines = [max(naive_cosine(embedding, center) for center in centers[:, column].T) for column in range(7)]
        if LABELS[row] >= 0:
            of_target = target(row, math.acos(cosines[LABELS[row]]))
            cosines = [other(cosine, of_target) for cosine in cosines]
            cosines[LABELS[row]] = of_target
        np.testing.assert_allclose(logits[row], head.scale * np.array(cosines), rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize(
    "head, margins",
    [
        (CombinedMargin(7, 1.0, 1.2), (1.0, 1.2)),
        (CombinedMargin(7, 0.9, 0.4, 0.15), (0.9, 0.4, 0.15)),
        (CombinedMargin(7, 4.0, 0.2, 0.1), (4.0, 0.2, 0.1)),
        (ArcFace(7, 0.4), (1.0, 0.4)),
        (CosFace(7, 0.25, scale=30.0), (1.0, 0.0, 0.25)),
        (SubCenterArcFace(7, margin=0.4, scale=30.0, sub_centers=4), (1.0, 0.4)),
    ],
)
def test_one_margin_for_all_rows(head, margins):
    logits = head(batches()[0], LABELS[:, np.newaxis])
    assert_logits(logits, batches()[0], head, lambda row, theta: naive_margin(theta, *margins))
    if isinstance(head, CombinedMargin):
        falling = head.apply_margin(tf.cos(tf.linspace(0.0, math.pi, 500)))
        assert np.all(np.diff(falling) < 0)


def test_adaface():
    """The statistics learn from both batches, each before its own logits, and then rest; one row has no deviation."""
    head = AdaFace(7, margin=0.6, h=0.8, t_alpha=0.3, scale=30.0)
    mean, std = 20.0, 100.0
    head(batches()[0], np.array([-1, -1, 3, -1, -1, -1]), training=True)
    for embeddings, training in zip([*batches(), batches()[0]], (True, True, False)):
        logits = head(embeddings, LABELS, training=training)
        norms = np.minimum(np.linalg.norm(embeddings.astype(np.float64), axis=1), 100.0)
        if training:
            mean = 0.3 * np.mean(norms[LABELS >= 0]) + 0.7 * mean
            std = 0.3 * np.std(norms[LABELS >= 0], ddof=1) + 0.7 * std
        quality = np.clip(0.8 * (norms - mean) / (std + 0.001), -1.0, 1.0)

        def target(row, theta, shift=0.6 * quality):
            return naive_margin(theta, m2=-shift[row], m3=0.6 + shift[row])

        assert_logits(logits, embeddings, head, target)
        assert (float(head.norm_mean), float(head.norm_std)) == pytest.approx((mean, std), rel=1e-5)


def test_curricularface():
    """`t` learns from both batches, each before its own logits, and then rests."""
    head, t = CurricularFace(7, margin=0.4, scale=30.0, momentum=0.9), 0.0
    for embeddings, training in zip([*batches(), batches()[0]], (True, True, False)):
        logits = head(embeddings, LABELS, training=training)
        centers = head.class_centers.numpy()
        if training:
            rows = np.flatnonzero(LABELS >= 0)
            t = 0.9 * t + 0.1 * np.mean([naive_cosine(embeddings[row], centers[:, LABELS[row]]) for row in rows])

        def other(cosine, of_target, t=t):
            return cosine * (t + cosine) if cosine > of_target else cosine

        assert_logits(logits, embeddings, head, lambda row, theta: naive_margin(theta, m2=0.4), other)
        assert float(head.t) == pytest.approx(t, rel=1e-5)


def test_magface():
    """The regulariser is that of the labelled rows."""
    head = MagFace(7, lambda_g=3.0)
    norms = np.clip(NORMS, 10, 110)
    logits = head(batches()[0], LABELS)
    assert_logits(
        logits, batches()[0], head, lambda row, theta: naive_margin(theta, m2=0.45 + 0.35 * (norms[row] - 10) / 100)
    )
    expected = 3.0 * np.mean((1 / norms + norms / 110.0**2)[LABELS >= 0])
    (loss,) = head.losses
    assert (float(loss), float(head.magnitude_loss.result())) == pytest.approx((expected, expected), rel=1e-5)
    head(batches()[0])
    assert head.losses == []


def test_the_dominant_sub_center_stands_for_the_class():
    head = SubCenterArcFace(2)
    head.build([None, 3])
    # Both classes have the three axes as centers, of other lengths.
    head.class_centers.assign(np.stack([np.diag([5.0, 1.0, 1.0]), np.diag([1.0, 1.0, 2.0])], axis=1))
    rows = np.array([[0, 1, 0.1], [0.1, 1, 0], [1, 0.2, 0], [1, 0, 0], [1, 0, 0.3], [0, 0, 1]], np.float32)
    head(rows, np.array([0, 0, 0, 1, 1, 1]), training=True)
    np.testing.assert_array_equal(head.chosen, [[1, 2, 0], [2, 0, 1]])
    np.testing.assert_array_equal(head.normalized_centers(), [[0, 1, 0], [1, 0, 0]])
    head(rows[:2], np.array([0, -1]), training=True)
    np.testing.assert_allclose(head.chosen, [[0.99, 1 + 0.99 * 2, 0], [2, 0, 1]], rtol=1e-6)


@pytest.mark.parametrize(
    "name, make",
    [
        ("curricularface", CurricularFace),
        ("adaface", AdaFace),
        ("adaface_of_the_batch", lambda num_classes: AdaFace(num_classes, t_alpha=1.0)),
        ("magface", MagFace),
        ("subcenter_arcface", SubCenterArcFace),
    ],
)
def test_two_batches_are_those_of_the_authors_code(name, make):
    """With gradients and statistics; see tests/golden/make_head_golden.py."""
    golden = np.load(Path(__file__).resolve().parents[1] / "golden" / "head_golden.npz")
    head = make(6)
    head.build([None, 8])
    head.class_centers.assign(golden[f"{name}/centers" if f"{name}/centers" in golden else "centers"])
    for embeddings, labels, expected in zip(golden["embeddings"], golden["labels"], golden[f"{name}/logits"]):
        embeddings = tf.constant(embeddings)
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            logits = head(embeddings, labels, training=True)
            loss = tf.reduce_mean(tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits))
            loss += tf.add_n([0.0, *head.losses])
        np.testing.assert_allclose(logits, expected, atol=1e-4)
    assert float(loss) == pytest.approx(float(golden[f"{name}/loss"]), rel=1e-5)
    to_embeddings, to_centers = tape.gradient(loss, [embeddings, head.class_centers])
    np.testing.assert_allclose(to_embeddings, golden[f"{name}/to_embeddings"], atol=1e-5)
    np.testing.assert_allclose(to_centers, golden[f"{name}/to_centers"], atol=1e-5)
    for statistic in {"curricularface": ["t"], "adaface": ["norm_mean", "norm_std"]}.get(name.split("_")[0], []):
        assert float(getattr(head, statistic)) == pytest.approx(float(golden[f"{name}/{statistic}"]), rel=1e-5)
