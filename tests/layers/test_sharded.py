import numpy as np
import pytest
import tensorflow as tf
from sharded_twins import CLASSES, DIM, HEADS, check_twins, make_model, make_rows, slots_of, trained_twins
from test_margin import naive_loss
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.layers import ArcFace, CosFace, PartialFC, ShardedHead
from ddl_tf.layers.sharded import copies_of, is_shard
from ddl_tf.models import build_recognizer, initialise_from, save_checkpoint
from ddl_tf.training import build_optimizer

LABELS = np.array([0, 12, -1, 6, 6, 7])


@pytest.mark.parametrize("name, arguments", [("adaface", {}), ("arcface", {"optimizer": "adamw", "clip_norm": 0.3})])
def test_training_equals_that_of_the_full_head(name, arguments, two_replicas):
    """The norm that is clipped is that of all shards."""
    check_twins(*trained_twins(HEADS[name], two_replicas, make_rows(3), **arguments))


def test_a_replica_without_rows_and_no_device_with_the_class_matrix(two_replicas):
    """The last batch has one row, and so the second replica none."""
    rows = make_rows(2).unbatch().take(9).batch(8)
    full, sharded, *_ = trained_twins(HEADS["arcface"], two_replicas, rows)
    # Keras' means of the losses give every row of the short batch the weight of two.
    check_twins(full, sharded, {}, {})
    (shard,) = (weight for weight in sharded.trainable_weights if is_shard(weight))
    for variable in (shard, *slots_of(sharded, shard)):
        assert [copy.shape for copy in copies_of(variable)] == [(7, DIM), (7, DIM)]
        assert not np.array_equal(*copies_of(variable))
    # The padding of the last shard learns nothing.
    assert not np.any(copies_of(shard)[1][-1])


def test_the_first_centers_do_not_depend_on_the_number_of_shards(two_replicas):
    centers = []
    for strategy, seed in ((two_replicas, 3), (tf.distribute.get_strategy(), 3), (two_replicas, 4)):
        tf.random.set_seed(seed)
        with strategy.scope():
            head = ShardedHead(ArcFace(CLASSES))
            head.build([None, DIM])
        centers.append(head.centers_by_class().numpy())
    np.testing.assert_array_equal(*centers[:2])
    assert not np.array_equal(*centers[1:])
    assert np.std(centers[0]) == pytest.approx(0.01, rel=0.2)


@pytest.mark.parametrize("replicas", [1, 2])
def test_a_file_has_all_centers_for_any_number_of_replicas(replicas, two_replicas, tmp_path):
    first, second = (two_replicas, tf.distribute.get_strategy())[:: 1 if replicas == 1 else -1]
    with first.scope():
        model = make_model(ShardedHead(ArcFace(CLASSES)))
    model.get_layer("head").assign_centers(np.random.default_rng(1).normal(size=[CLASSES, DIM]).astype(np.float32))
    model.save(tmp_path / "model.keras")
    with second.scope():
        loaded = tf.keras.models.load_model(tmp_path / "model.keras", compile=False)
    head, again = (each.get_layer("head") for each in (model, loaded))
    embeddings = np.random.default_rng(0).normal(size=[6, DIM]).astype(np.float32)
    assert len(copies_of(again.class_shard)) == replicas
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
    assert history["loss"][0] == pytest.approx(naive_loss(embeddings, labels, before, changed), rel=1e-5)


def test_a_norm_of_each_weight_cannot_clip_shards():
    model = make_model(ShardedHead(ArcFace(CLASSES)))
    model.optimizer.clipnorm, model.run_eagerly = 1.0, True
    with pytest.raises(ValueError, match=r"clipnorm=1\.0 cannot clip the shards"):
        model.fit(make_rows(1), verbose=0)


def test_no_two_replicas_begin_with_the_same_memory(two_replicas):
    """Both would copy it in the first step."""
    with two_replicas.scope():
        head = ShardedHead(ArcFace(40))
        head.build([None, 5])
        optimizer = build_optimizer("sgd", 0.1, momentum=0.9)
        optimizer.build(head.trainable_variables)
        momentum = next(kept for kept in optimizer.momentums if is_shard(kept))
    for variable in (head.class_shard, momentum):
        first, second = (copy.read_value()._numpy() for copy in copies_of(variable))
        assert first.shape == (20, 5)
        assert not np.shares_memory(first, second)
    np.testing.assert_array_equal(second, np.zeros([20, 5]))
