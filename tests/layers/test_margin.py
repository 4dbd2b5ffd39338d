"""What every margin head must do, whatever its margin; the margins themselves have tests of their own."""

import numpy as np
import pytest
import tensorflow as tf
from keras_case import assert_weights, check_layer, check_replicated_training, policy

from ddl_tf import layers
from ddl_tf.layers.margin import CENTERS_STDDEV, cosines_between
from ddl_tf.losses import MarginSoftmaxLoss

HEADS = {
    "none": lambda **kwargs: layers.MarginHead(7, **kwargs),
    "arcface": lambda **kwargs: layers.ArcFace(7, **kwargs),
    "cosface": lambda **kwargs: layers.CosFace(7, **kwargs),
    "combined": lambda **kwargs: layers.CombinedMargin(7, m1=1.2, m2=0.3, m3=0.1, **kwargs),
    "curricularface": lambda **kwargs: layers.CurricularFace(7, momentum=0.5, **kwargs),
    "adaface": lambda **kwargs: layers.AdaFace(7, t_alpha=0.5, **kwargs),
    "magface": lambda **kwargs: layers.MagFace(7, l_a=0.5, u_a=4.0, lambda_g=2.0, **kwargs),
    "subcenter": lambda **kwargs: layers.SubCenterArcFace(7, **kwargs),
}
LABELS = np.array([0, 3, -1, 6, 6, -1])
all_heads = pytest.mark.parametrize("make", HEADS.values(), ids=HEADS)


def naive_cosine(embedding, center):
    embedding, center = embedding.astype(np.float64), center.astype(np.float64)
    cosine = embedding @ center / np.sqrt(embedding @ embedding) / np.sqrt(center @ center)
    return min(max(cosine, -1.0), 1.0)


def naive_loss(embeddings, labels, centers, sample):
    """The mean loss of CosFace with a margin of 0.2 and a scale of 8, its softmax over the sampled classes."""
    losses = []
    for embedding, label in zip(embeddings[labels >= 0], labels[labels >= 0]):
        cosines = np.array([naive_cosine(embedding, center) for center in centers])
        cosines[label] -= 0.2
        losses.append(np.log(np.sum(np.exp(8 * cosines[sample]))) - 8 * cosines[label])
    return np.mean(losses)


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=[6, 5]).astype(np.float32)


@all_heads
def test_without_labels_there_is_no_margin(embeddings, make):
    head = make()
    plain = head(embeddings)
    centers = head.class_centers.numpy().reshape([5, 7, -1])
    for row, embedding in enumerate(embeddings):
        for column in range(7):
            cosine = max(naive_cosine(embedding, center) for center in centers[:, column].T)
            assert float(plain[row, column]) == pytest.approx(64.0 * cosine, rel=1e-4, abs=1e-4)
    np.testing.assert_array_equal(head(embeddings, np.full(6, -1)), plain)
    rows_without = head(embeddings, LABELS).numpy()[LABELS == -1]
    np.testing.assert_array_equal(rows_without, plain.numpy()[LABELS == -1])


@all_heads
def test_gradients_are_finite_at_the_ends_and_for_zero_embeddings(make):
    head = make()
    head.build([None, 5])
    towards = head.class_centers.numpy().reshape([5, 7, -1])[:, 0, 0]
    embeddings = tf.constant(np.stack([towards, -towards, 0 * towards, 1e-20 * towards, 1e15 * towards]))
    for labels in ([0, 0, 0, 0, 0], [0, 0, -1, -1, -1]):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            logits = head(embeddings, tf.constant(labels), training=True)
            loss = tf.reduce_sum(tf.nn.sparse_softmax_cross_entropy_with_logits([0, 0, 0, 0, 0], logits))
            loss += tf.add_n([0.0, *head.losses])
        for gradient in tape.gradient(loss, [embeddings, head.class_centers]):
            assert np.all(np.isfinite(gradient))
        for weight in head.weights:
            assert np.all(np.isfinite(weight))


@all_heads
def test_half_precision_embeddings_lose_only_their_own_digits(embeddings, make):
    half, full = embeddings.astype(np.float16), make()
    with policy("mixed_float16"):
        head = make()
        logits = head(half, LABELS, training=True)
    full.build([None, 5])
    full.class_centers.assign(head.class_centers)
    assert {tf.as_dtype(weight.dtype) for weight in head.weights} == {tf.float32}
    np.testing.assert_allclose(logits, full(half.astype(np.float32), LABELS, training=True), rtol=1e-5, atol=1e-5)


@all_heads
def test_statistics_learn_in_training_only_and_from_targets(embeddings, make):
    head = make()
    logits = head(embeddings, LABELS)
    before = [weight.numpy() for weight in head.non_trainable_weights]
    np.testing.assert_array_equal(head(embeddings, LABELS, training=False), logits)
    head(embeddings, training=True)
    assert_weights(head.non_trainable_weights, before)
    head(embeddings, LABELS, training=True)
    for weight, old in zip(head.non_trainable_weights, before):
        assert not np.array_equal(weight, old), weight.name
    before = head.get_weights()
    for labels in (LABELS[:0], np.full(6, -1)):
        assert head(embeddings[: len(labels)], labels, training=True).shape == (len(labels), 7)
        assert float(tf.add_n([0.0, *head.losses])) == 0.0
        assert_weights(head.weights, before)


@pytest.mark.parametrize("name", ["adaface", "magface", "subcenter"])
def test_compiles_with_xla(embeddings, name):
    head, again = HEADS[name](), HEADS[name]()
    again.build([None, 5])
    expected = head(embeddings, LABELS, training=True)
    again.class_centers.assign(head.class_centers)
    logits = tf.function(again, jit_compile=True)(tf.constant(embeddings), tf.constant(LABELS), training=True)
    np.testing.assert_allclose(logits, expected, rtol=1e-4, atol=1e-4)
    assert_weights(again.weights, head.weights, rtol=1e-5)


@all_heads
def test_normalized_centers_are_where_an_embedding_is_nearest(make):
    head = make()
    head.build([None, 5])
    centers = head.normalized_centers()
    assert centers.shape == (7, 5)
    assert centers.dtype == tf.float32
    np.testing.assert_allclose(np.linalg.norm(centers, axis=1), 1.0, rtol=1e-5)
    np.testing.assert_allclose(np.diag(head(centers)), 64.0, rtol=1e-5)


@all_heads
def test_keras_contract(embeddings, make, tmp_path, two_replicas):
    # The others are special cases of this one, or are trained on replicas below and in test_replica_equality.py.
    trains = make is HEADS["combined"]
    check_layer(lambda: make(scale=8.0), (embeddings, LABELS.astype(np.int32)), tmp_path, two_replicas, trains=trains)


@pytest.mark.parametrize(
    "make",
    [lambda: HEADS["subcenter"](scale=8.0), lambda: HEADS["magface"](scale=8.0)],
    ids=["subcenter", "magface"],
)
def test_two_replicas_train_as_one_device(make, two_replicas):
    """Two steps with all that a head adds; the replicas have three labelled rows and one, then two and none."""
    features = np.random.default_rng(1).normal(size=[12, 4]).astype(np.float32)
    labels = np.array([0, 3, 5, -1, 6, -1, 1, 4, -1, -1, -1, -1])

    def make_model():
        inputs = [tf.keras.Input([4]), tf.keras.Input([], dtype=tf.int32)]
        embeddings = tf.keras.layers.Dense(5, name="dense")(inputs[0])
        model = tf.keras.Model(inputs, make()(embeddings, inputs[1]))
        model.compile(tf.keras.optimizers.SGD(0.1), MarginSoftmaxLoss())
        return model

    rows = tf.data.Dataset.from_tensor_slices(((features, labels), labels)).batch(6)
    check_replicated_training(make_model, rows, two_replicas)


@pytest.mark.parametrize("by_class", [False, True])
def test_cosines_and_their_gradients_are_those_of_normalised_rows(by_class):
    random = np.random.default_rng(0)
    centers = random.normal(size=[7, 5]).astype(np.float32)
    # Of length 0, and shorter than what a norm is at least.
    centers[1], centers[2] = 0, 1e-8
    rows, upstream = (tf.constant(random.normal(size=shape), tf.float32) for shape in ([4, 5], [4, 7]))
    centers = tf.constant(centers if by_class else centers.T)

    def naive(rows, centers):
        units = tf.math.l2_normalize(rows, axis=1), tf.math.l2_normalize(centers, axis=1 if by_class else 0)
        return tf.matmul(*units, transpose_b=by_class)

    results = []
    for cosines in (naive, lambda rows, centers: cosines_between(rows, centers, by_class)):
        with tf.GradientTape() as tape:
            tape.watch([rows, centers])
            value = cosines(rows, centers)
        results.append([value, *tape.gradient(value, [rows, centers], output_gradients=upstream)])
    for expected, result in zip(*results):
        np.testing.assert_allclose(result, expected, rtol=1e-4, atol=1e-5)


def test_centers_start_with_the_numbers_of_keras():
    tf.keras.utils.set_random_seed(3)
    expected = tf.keras.initializers.RandomNormal(stddev=CENTERS_STDDEV)([5, 9])
    tf.keras.utils.set_random_seed(3)
    head = layers.ArcFace(9)
    head.build([None, 5])
    np.testing.assert_array_equal(head.class_centers, expected)
