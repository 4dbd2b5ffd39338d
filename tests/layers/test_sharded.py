import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from keras_case import policy
from naive_heads import naive_cosine
from sharded_twins import CLASSES, DIM, HEADS, check_twins, make_model, make_rows, slots_of, trained_twins
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.layers import ArcFace, CosFace, PartialFC, ShardedHead
from ddl_tf.layers.sharded import assembled, assign_shards, copies_of, is_shard
from ddl_tf.models import build_recognizer, initialise_from, save_checkpoint

LABELS = np.array([0, 12, -1, 6, 6, 7])


@pytest.fixture
def embeddings():
    return np.random.default_rng(0).normal(size=[6, DIM]).astype(np.float32)


def strategy_of(replicas, two_replicas):
    return two_replicas if replicas == 2 else tf.distribute.get_strategy()


# The norm that is clipped is that of all shards.
CLIPPED = {"optimizer": "adamw", "clip_norm": 0.3}


@pytest.mark.parametrize(
    "name, replicas, arguments",
    [("adaface", 1, {}), ("cosface", 2, {}), ("adaface", 2, {}), ("magface", 2, {}), ("arcface", 2, CLIPPED)],
)
def test_training_equals_that_of_the_full_head(name, replicas, arguments, two_replicas):
    check_twins(*trained_twins(HEADS[name], strategy_of(replicas, two_replicas), make_rows(3), **arguments))


def test_a_replica_without_rows_and_no_device_with_the_class_matrix(two_replicas):
    """The last batch has one row, and so the second replica none."""
    rows = make_rows(2).unbatch().take(9).batch(8)
    full, sharded, *_ = trained_twins(HEADS["arcface"], two_replicas, rows)
    # Keras' means of the losses give every row of the short batch the weight of two.
    check_twins(full, sharded, {}, {})
    (shard,) = (weight for weight in sharded.trainable_weights if is_shard(weight))
    for variable in (shard, *slots_of(sharded, shard)):
        assert [copy.shape for copy in variable.values] == [(7, DIM), (7, DIM)]
        assert not np.array_equal(*variable.values)
    # The padding of the last shard learns nothing.
    assert not np.any(shard.values[1][-1])


def test_four_replicas():
    script = Path(__file__).with_name("sharded_twins.py")
    done = subprocess.run([sys.executable, script, "4"], capture_output=True, text=True)
    assert done.stdout == "4 replicas agree\n", done.stderr[-2000:]


def test_the_first_centers_do_not_depend_on_the_number_of_shards(two_replicas):
    centers = []
    for strategy in (two_replicas, tf.distribute.get_strategy()):
        tf.keras.utils.set_random_seed(3)
        with strategy.scope():
            head = ShardedHead(ArcFace(CLASSES))
            head.build([None, DIM])
        centers.append(head.centers_by_class().numpy())
    np.testing.assert_array_equal(*centers)
    assert np.std(centers[0]) == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("replicas", [(2, 1), (1, 2), (2, 2)])
def test_a_file_has_all_centers_for_any_number_of_replicas(replicas, two_replicas, embeddings, tmp_path):
    first, second = (strategy_of(number, two_replicas) for number in replicas)
    with first.scope():
        model = make_model(ShardedHead(ArcFace(CLASSES)))
    model.get_layer("head").assign_centers(np.random.default_rng(1).normal(size=[CLASSES, DIM]).astype(np.float32))
    model.save(tmp_path / "model.keras")
    with second.scope():
        loaded = tf.keras.models.load_model(tmp_path / "model.keras", compile=False)
    head, again = (each.get_layer("head") for each in (model, loaded))
    assert len(copies_of(again.class_shard)) == replicas[1]
    np.testing.assert_array_equal(again.centers_by_class(), head.centers_by_class())
    np.testing.assert_array_equal(again.normalized_centers(), head.normalized_centers())
    np.testing.assert_allclose(again(embeddings, LABELS), head(embeddings, LABELS), rtol=1e-5)
    np.testing.assert_allclose(again(embeddings), head(embeddings), rtol=1e-5)


def test_a_recognizer_takes_its_head_and_starts_others(two_replicas, tmp_path):
    arguments = {"embedding_size": DIM, "input_shape": (16, 16, 3)}
    with two_replicas.scope():
        model = build_recognizer("plain_small", CLASSES, ShardedHead(ArcFace(CLASSES)), **arguments)
    head = model.get_layer("head")
    head.start_at(tf.math.l2_normalize(tf.random.normal([CLASSES, DIM]), axis=1))
    save_checkpoint(model, tmp_path / "model.keras")
    full = build_recognizer("plain_small", CLASSES, **arguments)
    assert initialise_from(full, tmp_path / "model.keras") == ["backbone", "neck", "head"]
    np.testing.assert_array_equal(full.get_layer("head").centers_by_class(), head.centers_by_class())
    save_checkpoint(full, tmp_path / "full.keras")
    before = head.centers_by_class().numpy()
    head.assign_centers(np.zeros([CLASSES, DIM], np.float32))
    with two_replicas.scope():
        assert initialise_from(model, tmp_path / "full.keras") == ["backbone", "neck", "head"]
    np.testing.assert_array_equal(head.centers_by_class(), before)


@pytest.mark.parametrize("wrapper", [PartialFC, ShardedHead])
def test_centers_start_where_those_of_the_full_head_do(wrapper):
    directions = np.eye(CLASSES, DIM, dtype=np.float32)
    heads = [ArcFace(CLASSES), wrapper(ArcFace(CLASSES))]
    for head in heads:
        head.build([None, DIM])
        head.start_at(directions)
    np.testing.assert_array_equal(heads[1].centers_by_class(), heads[0].centers_by_class())
    np.testing.assert_allclose(heads[0].class_centers[0, 0], 0.01 * DIM**0.5, rtol=1e-6)


def test_shards_are_assigned_and_assembled(two_replicas):
    matrix = np.arange(10.0, dtype=np.float32).reshape(5, 2)
    with two_replicas.scope():
        shards = tf.Variable(np.ones([3, 2], np.float32))
    assign_shards(shards, matrix)
    np.testing.assert_array_equal(shards.values[0], matrix[:3])
    np.testing.assert_array_equal(shards.values[1], [*matrix[3:], [0, 0]])
    np.testing.assert_array_equal(assembled(shards, 5), matrix)


def test_each_shard_draws_a_sample(two_replicas):
    """Only the rows that were drawn change, and the softmax is over them."""
    with two_replicas.scope():
        model = make_model(ShardedHead(CosFace(400, margin=0.2, scale=8.0), sample_rate=0.1))
    head = model.get_layer("head")
    before = head.centers_by_class().numpy()
    rows = make_rows(1)
    embeddings = model.get_layer("dense")(next(iter(rows))[0][0]).numpy()
    history = model.fit(rows, verbose=0).history
    changed = np.flatnonzero(np.any(head.centers_by_class().numpy() != before, axis=1))
    labels = next(iter(rows))[1].numpy()
    assert set(labels[labels >= 0].tolist()) <= set(changed.tolist())
    assert [np.sum(changed < 200), np.sum(changed >= 200)] == [20, 20]
    assert set((changed[changed >= 200] - 200).tolist()) != set(changed[changed < 200].tolist())
    losses = []
    for embedding, label in zip(embeddings, labels):
        if label >= 0:
            cosines = np.array([naive_cosine(embedding, center) for center in before])
            cosines[label] -= 0.2
            losses.append(np.log(np.sum(np.exp(8 * cosines[changed]))) - 8 * cosines[label])
    assert history["loss"][0] == pytest.approx(np.mean(losses), rel=1e-5)


def test_with_all_classes_drawn_it_is_the_full_head(two_replicas):
    full = make_model(HEADS["arcface"]())
    full.run_eagerly = True
    with two_replicas.scope():
        sampled = make_model(ShardedHead(HEADS["arcface"](), sample_rate=0.99))
        sampled.get_layer("dense").set_weights(full.get_layer("dense").get_weights())
        sampled.get_layer("head").assign_centers(full.get_layer("head").centers_by_class())
    expected = full.evaluate(make_rows(1), verbose=0)
    history = sampled.fit(make_rows(1), verbose=0).history
    np.testing.assert_allclose(np.ravel(list(history.values())), expected, rtol=1e-5)


def test_a_shard_that_overflows_skips_the_step_on_all_replicas(two_replicas):
    with policy("mixed_float16"), two_replicas.scope():
        model = make_model(ShardedHead(ArcFace(CLASSES)), clip_norm=1.0)
    model.fit(make_rows(2), verbose=0)
    assert np.all(np.isfinite(model.get_layer("head").centers_by_class()))
    scale = float(model.optimizer.loss_scale)
    shard = model.get_layer("head").class_shard
    before = [weight.numpy() for weight in copies_of(shard)]
    # Of the second replica alone.
    shard.values[1].assign(np.full(shard.shape, np.nan))
    kernel = model.get_layer("dense").kernel
    kept = kernel.numpy()
    model.fit(make_rows(1), verbose=0)
    assert float(model.optimizer.loss_scale) == scale / 2
    np.testing.assert_array_equal(shard.values[0], before[0])
    for copy in kernel.values:
        np.testing.assert_array_equal(copy, kept)


def test_a_norm_of_each_weight_cannot_clip_shards():
    model = make_model(ShardedHead(ArcFace(CLASSES)))
    model.optimizer.clipnorm, model.run_eagerly = 1.0, True
    with pytest.raises(ValueError, match=r"clipnorm=1\.0 cannot clip the shards"):
        model.fit(make_rows(1), verbose=0)


def test_the_centers_follow_tensorflows_seed_and_leave_numpys_numbers_alone():
    def centers(seed):
        tf.random.set_seed(seed)
        head = ShardedHead(ArcFace(CLASSES))
        head.build([None, 4])
        return head.centers_by_class().numpy()

    before = np.random.get_state()[1].copy()
    np.testing.assert_array_equal(centers(1), centers(1))
    assert np.abs(centers(1) - centers(2)).max() > 0
    np.testing.assert_array_equal(np.random.get_state()[1], before)
