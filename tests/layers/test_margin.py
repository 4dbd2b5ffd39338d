import math

import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_layer

from ddl_tf.layers import ArcFace, CombinedMargin, CosFace, MarginHead

HEADS = {
    "none": lambda **kwargs: MarginHead(7, **kwargs),
    "arcface": lambda **kwargs: ArcFace(7, **kwargs),
    "cosface": lambda **kwargs: CosFace(7, **kwargs),
    "combined": lambda **kwargs: CombinedMargin(7, m1=1.2, m2=0.3, m3=0.1, **kwargs),
}
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


def naive_margin(theta, m1, m2, m3):
    """The target's cosine under the margin, one angle after the other, in float64."""
    if m1 * theta + m2 <= math.pi:
        return math.cos(m1 * theta + m2) - m3
    turn = math.cos((math.pi - m2) / m1)
    return math.cos(theta) - max(m2 * math.sin(m2), 1 + turn) - m3


def naive_logits(embeddings, centers, labels, m1, m2, m3, scale):
    logits = np.zeros([len(embeddings), centers.shape[1]])
    for row, embedding in enumerate(embeddings.astype(np.float64)):
        for column, center in enumerate(centers.T.astype(np.float64)):
            cosine = embedding @ center / np.linalg.norm(embedding) / np.linalg.norm(center)
            if column == labels[row]:
                cosine = naive_margin(math.acos(cosine), m1, m2, m3)
            logits[row, column] = scale * cosine
    return logits


def head_of_cosines(cosines, **margins):
    """A head and embeddings whose cosines to class 0 are given, and the labels."""
    head = CombinedMargin(2, scale=1.0, **margins)
    head.build([None, 2])
    head.class_centers.assign([[1.0, 0.0], [0.0, 1.0]])
    embeddings = np.stack([cosines, np.sqrt(1 - cosines**2)], axis=1)
    return head, embeddings.astype(np.float32), np.zeros(len(cosines), np.int32)


@pytest.mark.parametrize("m1, m2, m3", MARGINS)
def test_equals_the_naive_twin(embeddings, m1, m2, m3):
    head = CombinedMargin(7, m1, m2, m3, scale=30.0)
    logits = head(embeddings, LABELS)
    expected = naive_logits(embeddings, head.class_centers.numpy(), LABELS, m1, m2, m3, 30.0)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_named_heads_are_the_combined_margin(embeddings):
    for head, margins in (
        (ArcFace(7, 0.4), (1.0, 0.4, 0.0)),
        (CosFace(7, 0.25), (1.0, 0.0, 0.25)),
        (MarginHead(7), (1, 0, 0)),
    ):
        logits = head(embeddings, LABELS)
        expected = naive_logits(embeddings, head.class_centers.numpy(), LABELS, *margins, 64.0)
        np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)


def test_arcface_is_insightface_formula():
    """losses.py of arcface_torch: cos(acos(target) + m), times the scale; it has no fallback past pi."""
    cosines = np.cos(np.linspace(0.01, math.pi - 0.5, 200))
    head, embeddings, labels = head_of_cosines(cosines, m2=0.5)
    np.testing.assert_allclose(head(embeddings, labels)[:, 0], np.cos(np.arccos(cosines) + 0.5), atol=2e-5)


def test_arcface_falls_back_as_the_classic_one():
    cosines = np.cos(np.linspace(math.pi - 0.49, math.pi, 50))
    head, embeddings, labels = head_of_cosines(cosines, m2=0.5)
    np.testing.assert_allclose(head(embeddings, labels)[:, 0], cosines - 0.5 * math.sin(0.5), atol=1e-5)


@pytest.mark.parametrize("m1, m2, m3", MARGINS)
def test_falls_strictly_with_the_angle(m1, m2, m3):
    cosines = np.cos(np.linspace(0, math.pi, 500))
    head, embeddings, labels = head_of_cosines(cosines, m1=m1, m2=m2, m3=m3)
    assert np.all(np.diff(head(embeddings, labels)[:, 0].numpy()) < 0)


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_without_labels_there_is_no_margin(embeddings, make):
    head = make()
    plain = head(embeddings)
    expected = naive_logits(embeddings, head.class_centers.numpy(), [-1] * 6, 1, 0, 0, 64.0)
    np.testing.assert_allclose(plain, expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_array_equal(head(embeddings, np.full(6, -1)), plain)
    rows_without = head(embeddings, LABELS).numpy()[LABELS == -1]
    np.testing.assert_array_equal(rows_without, plain.numpy()[LABELS == -1])


@pytest.mark.parametrize("dtype", [np.int8, np.int32, np.int64])
@pytest.mark.parametrize("shape", [[6], [6, 1]])
def test_labels_of_any_int_type_and_both_shapes(embeddings, dtype, shape):
    head = ArcFace(7)
    expected = head(embeddings, LABELS)
    np.testing.assert_array_equal(head(embeddings, LABELS.astype(dtype).reshape(shape)), expected)


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_gradients_are_finite_at_the_ends_and_for_zero_embeddings(make):
    head = make()
    head.build([None, 5])
    towards = head.class_centers.numpy()[:, 0]
    embeddings = tf.constant(np.stack([towards, -towards, 0 * towards, 1e-20 * towards, 1e15 * towards]))
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        logits = head(embeddings, tf.constant([0, 0, 0, 0, 0]))
        loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 0, 0, 0, 0], logits))
    for gradient in tape.gradient(loss, [embeddings, head.class_centers]):
        assert np.all(np.isfinite(gradient))


def test_the_gradient_pulls_towards_the_center_even_opposite_to_it():
    head, embeddings, labels = head_of_cosines(np.cos(np.linspace(0.1, 3.1, 30)), m2=0.5)
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        target = tf.reduce_sum(head(embeddings, labels)[:, 0])
    assert np.all(tape.gradient(target, embeddings)[:, 0] > 0)


def test_a_batch_without_rows(embeddings):
    head = ArcFace(7)
    assert head(embeddings[:0], LABELS[:0]).shape == (0, 7)


def test_compiles_with_xla(embeddings):
    head = ArcFace(7)
    expected = head(embeddings, LABELS)
    logits = tf.function(head, jit_compile=True)(tf.constant(embeddings), tf.constant(LABELS))
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)


def test_half_precision_embeddings_lose_only_their_own_digits(embeddings):
    tf.keras.mixed_precision.set_global_policy("mixed_float16")
    try:
        head = ArcFace(7)
        half = embeddings.astype(np.float16)
        logits = head(half, LABELS)
    finally:
        tf.keras.mixed_precision.set_global_policy("float32")
    assert head.class_centers.dtype == tf.float32
    expected = naive_logits(half, head.class_centers.numpy(), LABELS, 1, 0.5, 0, 64.0)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=2e-4)


@pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)
def test_keras_contract(embeddings, make, tmp_path, two_replicas):
    check_layer(lambda: make(scale=8.0), (embeddings, LABELS.astype(np.int32)), tmp_path, two_replicas)


@pytest.mark.parametrize(
    "make, message",
    [
        (lambda: MarginHead(0), "num_classes must be at least 1, got 0"),
        (lambda: MarginHead(3, scale=-1.0), "scale must be above 0, got -1.0"),
        (lambda: CombinedMargin(3, m1=0.0), "m1 must be above 0, got 0.0"),
        (lambda: CombinedMargin(3, m3=-0.1), "m3 must not be negative, got -0.1"),
        (lambda: ArcFace(3, margin=3.2), r"m2 must be an angle in \[0, pi\), got 3.2"),
        (lambda: ArcFace(3, margin=float("nan")), "got nan"),
        (lambda: CosFace(3, margin=-0.35), "margin must not be negative, got -0.35"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(ValueError, match=message):
        make()
