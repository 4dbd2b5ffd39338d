import contextlib

import numpy as np
import pytest
import tensorflow as tf
from keras_case import assert_weights, check_layer, check_replicated_training
from test_margin import HEADS, naive_loss

from ddl_tf.layers import ArcFace, CosFace, PartialFC, ShardedHead
from ddl_tf.layers.partial_fc import sample_classes
from ddl_tf.layers.sharded import copies_of
from ddl_tf.losses import LabelledAccuracy, MarginSoftmaxLoss
from ddl_tf.training import build_optimizer
from ddl_tf.training.objective import make_state

CLASSES, DIM = 40, 5
LABELS = np.array([0, 33, -1, 6, 6, -1])


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=[6, DIM]).astype(np.float32)


def test_the_random_keys_are_those_of_tensorflows_uniform_numbers():
    """So that a run that was begun with these goes on with the same samples."""
    keys = tf.random.stateless_uniform([CLASSES], [7, 3], alg="philox").numpy()
    expected = np.sort(np.argsort(-keys)[:10])
    np.testing.assert_array_equal(sample_classes(CLASSES, 10, tf.constant([-1]), [7, 3]), expected)


def test_a_seed_draws_the_same_classes_with_xla():
    def draw(seed):
        return sample_classes(CLASSES, 10, tf.constant(LABELS, tf.int32), seed)

    compiled = tf.function(draw, jit_compile=True)
    for step in range(5):
        np.testing.assert_array_equal(compiled(tf.constant([7, step])), draw(tf.constant([7, step])))


def test_a_sample_has_the_positive_classes_and_random_others():
    seen = np.zeros(CLASSES)
    for step in range(300):
        sample = sample_classes(CLASSES, 10, tf.constant(LABELS, tf.int32), [7, step]).numpy()
        assert len(sample) == 10
        assert np.all(np.diff(sample) > 0)
        assert {0, 33, 6} <= set(sample.tolist())
        seen[sample] += 1
    negatives = np.delete(seen, [0, 33, 6])
    # 7 of the 37 others, 300 times: 56.8 on average with a standard deviation of 6.8.
    assert np.abs(negatives - 300 * 7 / 37).max() < 4 * 6.8
    draws = [sample_classes(CLASSES, 10, tf.constant(LABELS, tf.int32), seed) for seed in ([1, 2], [1, 3], [2, 2])]
    assert len({draw.numpy().tobytes() for draw in draws}) == 3


def test_there_are_as_many_classes_as_the_batch_may_need(embeddings):
    head = PartialFC(ArcFace(CLASSES), sample_rate=0.01)
    head.build([None, DIM])
    assert head.draw(tf.constant(LABELS, tf.int32), CLASSES).shape == 6
    few = PartialFC(ArcFace(4), sample_rate=0.5)
    few.build([None, DIM])
    assert few.draw(tf.constant([0, 1, 2, 3, 3, -1]), 4).numpy().tolist() == [0, 1, 2, 3]


def loss_and_gradients(head, embeddings, labels):
    embeddings = tf.constant(embeddings)
    with tf.GradientTape() as tape:
        tape.watch(embeddings)
        loss = MarginSoftmaxLoss(compact=head.compact)(labels, head(embeddings, labels, training=True))
        loss += tf.add_n([0.0, *head.losses])
    return loss, *tape.gradient(loss, [embeddings, *head.trainable_weights])


@pytest.mark.parametrize("wrap", [lambda head: PartialFC(head, 0.999), lambda head: PartialFC(head, 1.0), ShardedHead])
@pytest.mark.parametrize("name", ["cosface", "curricularface", "adaface", "magface"])
def test_with_all_classes_it_is_the_full_head(name, wrap, embeddings):
    if wrap is ShardedHead and name == "curricularface":
        pytest.skip("it cannot be sharded")
    labels = np.array([0, 3, -1, 6, 6, -1])
    full, wrapped = HEADS[name](scale=8.0), wrap(HEADS[name](scale=8.0))
    for head in (full, wrapped):
        head.build([None, DIM])
    wrapped.assign_centers(full.centers_by_class())
    loss, to_embeddings, to_centers = loss_and_gradients(full, embeddings, labels)
    wrapped_loss, wrapped_embeddings, wrapped_centers = loss_and_gradients(wrapped, embeddings, labels)
    assert float(wrapped_loss) == pytest.approx(float(loss), rel=1e-5)
    np.testing.assert_allclose(wrapped_embeddings, to_embeddings, rtol=1e-4, atol=1e-6)
    np.testing.assert_allclose(tf.convert_to_tensor(wrapped_centers), tf.transpose(to_centers), rtol=1e-4, atol=1e-4)
    assert_weights(wrapped.head.non_trainable_weights, full.non_trainable_weights, rtol=1e-5)


def test_in_training_the_softmax_is_over_the_sample(embeddings):
    head = PartialFC(CosFace(CLASSES, margin=0.2, scale=8.0), sample_rate=0.2, seed=3)
    head.build([None, DIM])
    for step in range(3):
        sample = sample_classes(CLASSES, 8, tf.constant(LABELS, tf.int32), [3, step]).numpy()
        expected = naive_loss(embeddings, LABELS, head.class_centers.numpy(), sample)
        loss, _, to_centers = loss_and_gradients(head, embeddings, LABELS)
        assert float(loss) == pytest.approx(expected, rel=1e-5)
        assert isinstance(to_centers, tf.IndexedSlices)
        assert to_centers.indices.numpy().tolist() == sample.tolist()


def test_outside_of_training_all_classes_take_part(embeddings):
    full, head = ArcFace(CLASSES), PartialFC(ArcFace(CLASSES), sample_rate=0.2)
    for each in (full, head):
        each.build([None, DIM])
    head.assign_centers(full.centers_by_class())
    np.testing.assert_allclose(head(embeddings), full(embeddings), rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(head.normalized_centers(), full.normalized_centers(), rtol=1e-5)
    loss = MarginSoftmaxLoss(compact=True)(LABELS, head(embeddings, LABELS, training=False))
    assert float(loss) == pytest.approx(float(MarginSoftmaxLoss()(LABELS, full(embeddings, LABELS))), rel=1e-5)
    assert int(head.drawn) == 0


def test_keras_contract(embeddings, tmp_path, two_replicas):
    labels = np.array([0, 33, 5, 6, 6, 9], np.int32)
    check_layer(lambda: PartialFC(ArcFace(CLASSES, scale=8.0), 0.2), (embeddings, labels), tmp_path, two_replicas)


def make_model(clip_norm=None):
    inputs = [tf.keras.Input([4]), tf.keras.Input([], dtype=tf.int32)]
    embeddings = tf.keras.layers.Dense(DIM, name="dense")(inputs[0])
    logits = PartialFC(ArcFace(CLASSES, scale=8.0), 0.25, name="head")(embeddings, inputs[1])
    model = tf.keras.Model(inputs, logits)
    optimizer = build_optimizer("sgd", 0.1, momentum=0.9, weight_decay=0.01, clip_norm=clip_norm)
    model.compile(optimizer, MarginSoftmaxLoss(compact=True), metrics=[LabelledAccuracy(compact=True)])
    make_state(model)
    return model


def make_rows(steps):
    random = np.random.default_rng(1)
    features = random.normal(size=[6 * steps, 4]).astype(np.float32)
    # The first replica has three labelled rows and the second one; then two and none.
    labels = np.tile([0, 3, 25, -1, 25, -1, 1, 38, -1, -1, -1, -1], steps)[: 6 * steps]
    return tf.data.Dataset.from_tensor_slices(((features, labels), labels)).batch(6)


def test_two_replicas_train_as_one_device(two_replicas):
    replicated = check_replicated_training(lambda: make_model(clip_norm=0.05), make_rows(4), two_replicas)
    for weight in replicated.trainable_weights:
        np.testing.assert_array_equal(*copies_of(weight))


def test_rows_that_were_not_drawn_stay_bit_for_bit(two_replicas):
    with two_replicas.scope():
        model = make_model()
    model.fit(make_rows(2), verbose=0)
    head = model.get_layer("head")
    momentum = next(m for m in model.optimizer.momentums if m.shape == head.class_centers.shape)
    before, moving = head.class_centers.numpy(), momentum.numpy()
    labels = next(iter(make_rows(1)))[1]
    sample = sample_classes(CLASSES, 10, tf.cast(labels, tf.int32), [0, 2]).numpy()
    model.fit(make_rows(1), verbose=0)
    others = np.delete(np.arange(CLASSES), sample)
    assert np.abs(moving[others]).max() > 0
    np.testing.assert_array_equal(head.class_centers.numpy()[others], before[others])
    np.testing.assert_array_equal(momentum.numpy()[others], moving[others])
    assert np.all(np.any(head.class_centers.numpy()[sample] != before[sample], axis=1))


@pytest.mark.parametrize("head", [PartialFC, ShardedHead])
@pytest.mark.parametrize("is_replicated", [False, True])
def test_rows_are_gathered_in_a_model_of_half_precision(head, is_replicated, two_replicas):
    with two_replicas.scope() if is_replicated else contextlib.nullcontext():
        inputs = [tf.keras.Input([4]), tf.keras.Input([], dtype=tf.int32)]
        embeddings = tf.keras.layers.Dense(DIM, dtype="mixed_bfloat16")(inputs[0])
        logits = head(ArcFace(CLASSES, scale=8.0), sample_rate=0.25, name="head")(embeddings, inputs[1])
        # Keras gives a model the policy that stands when it is made.
        tf.keras.mixed_precision.set_global_policy("mixed_bfloat16")
        try:
            model = tf.keras.Model(inputs, logits)
        finally:
            tf.keras.mixed_precision.set_global_policy("float32")
        model.compile(build_optimizer("sgd", 0.1), MarginSoftmaxLoss(compact=True))
        make_state(model)
    before = model.get_layer("head").centers_by_class().numpy()
    model.fit(make_rows(2).take(1), verbose=0)
    changed = np.any(model.get_layer("head").centers_by_class().numpy() != before, axis=1)
    assert changed[[0, 3, 25]].all()
    # Of 20 classes a shard draws as many as the batch has rows.
    assert changed.sum() == (12 if is_replicated and head is ShardedHead else 10)
