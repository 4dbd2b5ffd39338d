"""Every loss that a flag names is what is minimised, with that flag's numbers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from needs import needs_tensorflow_addons

from ddl_tf import losses
from ddl_tf.common.errors import InputError
from ddl_tf.models import HEADS, build_recognizer
from ddl_tf.training import TrainSettings
from ddl_tf.training.micro_batches import in_micro_batches
from ddl_tf.training.objective import build_embedding_loss, build_logits_loss, compile_recognizer

SETTINGS = TrainSettings(run_dir="run", train_data=["set"], pairs_per_group=2, learning_rate=0.05, epochs=1, scale=16.0)


def changed(**changes):
    return dataclasses.replace(SETTINGS, **changes)


def recognizer(settings, num_students, classes=6, **arguments):
    """Compiled; without a graph, which takes longer than a step."""
    model = build_recognizer("plain_small", classes, embedding_size=8, input_shape=(16, 16, 3), scale=16.0, **arguments)
    compile_recognizer(model, settings, 1, num_students)
    model.run_eagerly = True
    return model


@pytest.mark.parametrize(
    ("changes", "kind", "config"),
    [
        ({"logits_loss": "softmax", "label_smoothing": 0.1}, losses.MarginSoftmaxLoss, {"label_smoothing": 0.1}),
        ({"logits_loss": "focal", "focal_gamma": 1.5}, losses.FocalLoss, {"gamma": 1.5}),
        ({"logits_loss": "ohem", "ohem_keep": 0.25}, losses.OHEMLoss, {"keep_fraction": 0.25}),
    ],
)
def test_logits_loss(changes, kind, config):
    settings = changed(**changes)
    made = build_logits_loss(settings, settings.label_smoothing, False)
    assert type(made) is kind
    assert config.items() <= made.get_config().items()


@pytest.mark.parametrize("logits_loss", ["softmax", "focal", "ohem"])
def test_a_sampled_head_is_trained_by_its_own_losses(logits_loss):
    settings = changed(logits_loss=logits_loss, sample_rate=0.5)
    model = recognizer(settings, 0, 20, sample_rate=settings.sample_rate)
    head = model.get_layer("head")
    before = head.class_centers.numpy()
    labels = np.array([3, -1, 5, 19])
    inputs = {"image": np.zeros([4, 16, 16, 3], np.float32), "label": labels}
    logs = model.train_on_batch(inputs, {"logits": labels, "embedding": np.zeros([4, 2])}, return_dict=True)
    changed_rows = np.flatnonzero(np.any(head.class_centers.numpy() != before, axis=1))
    assert len(changed_rows) == 10
    assert {3, 5, 19} <= set(changed_rows)
    assert np.isfinite(logs["loss"])
    assert 0 <= logs["logits_accuracy"] <= 1


@pytest.mark.parametrize(
    ("changes", "kind", "config"),
    [
        ({"embedding_loss": "ddl", "bandwidth": 0.2}, losses.DDLLoss, {"bandwidth": 0.2}),
        pytest.param(
            {"embedding_loss": "triplet", "triplet_margin": 0.4},
            losses.TripletLoss,
            {"margin": 0.4},
            marks=needs_tensorflow_addons,
        ),
        ({"embedding_loss": "histogram", "histogram_bins": 51}, losses.HistogramLoss, {"num_bins": 51}),
        ({"embedding_loss": "rkd", "rkd_angle_weight": 3.0}, losses.RKDLoss, {"angle_weight": 3.0}),
        ({"embedding_loss": "sp"}, losses.SPLoss, {}),
    ],
)
def test_embedding_loss_is_minimised_beside_the_softmax(changes, kind, config):
    settings = changed(**changes, embedding_weight=2.0, shared_identities=True)
    made = build_embedding_loss(settings, num_students=1)
    assert type(made) is kind
    assert config.items() <= made.get_config().items()
    model = recognizer(settings, 1)
    rng = np.random.default_rng(0)
    identity, group = np.repeat(np.tile([0, 1, 2, 3], 2), 2), np.repeat([0, 1], 8)
    label = np.where(np.arange(16) % 3 == 0, -1, identity)
    inputs = {"image": rng.uniform(0, 255, [16, 16, 16, 3]).astype(np.float32), "label": label}
    targets = {"embedding": np.stack([identity, group], 1), "logits": label}
    logs = model.train_on_batch(inputs, targets, return_dict=True)
    assert logs["loss"] == pytest.approx(logs["logits_loss"] + 2 * logs["embedding_loss"], rel=1e-4)
    assert logs["embedding_loss"] != 0
    assert "embedding_gap_1" in logs


def test_no_embedding_loss():
    assert build_embedding_loss(SETTINGS, num_students=1) is None
    with pytest.raises(InputError, match="embedding_loss=sp compares the groups identity by identity"):
        changed(embedding_loss="sp")
    with pytest.raises(InputError, match="embedding_loss=triplet needs rows with groups"):
        changed(embedding_loss="triplet", pairs_per_group=0)


@pytest.mark.parametrize("head", sorted(HEADS))
def test_every_head_trains(head):
    model = recognizer(changed(embedding_loss="ddl"), 1, head=head)
    inputs = {"image": tf.random.uniform([8, 16, 16, 3], 0, 255), "label": tf.constant([0, 1, -1, 2, 3, 4, -1, 5])}
    rows = np.stack([np.repeat([0, 1, 2, 3], 2), np.repeat([0, 1], 4)], 1)
    logs = model.train_on_batch(inputs, {"embedding": rows, "logits": inputs["label"]}, return_dict=True)
    assert np.isfinite(logs["loss"])


def test_a_compiled_step_is_the_same():
    """In micro-batches, which hold the plain step; a tiny network, since XLA takes minutes for whole ones on a CPU."""
    image = tf.keras.Input((4, 4, 3))
    backbone = tf.keras.Model(image, tf.keras.layers.Conv2D(4, 3)(image))
    rng = np.random.default_rng(0)
    identity, group = np.repeat(np.tile([0, 1, 2, 3], 2), 2), np.repeat([0, 1], 8)
    inputs = {"image": rng.uniform(0, 255, [16, 4, 4, 3]).astype(np.float32), "label": identity}
    targets = {"embedding": np.stack([identity, group], 1), "logits": identity}
    weights = []
    for jit_compile in (False, True):
        tf.keras.utils.set_random_seed(0)
        model = build_recognizer(backbone, 6, embedding_size=8, input_shape=(4, 4, 3), scale=16.0)
        # The backbone is the same object both times.
        backbone.set_weights(weights[0][1] if weights else backbone.get_weights())
        start = backbone.get_weights()
        model = in_micro_batches(model, 2)
        compile_recognizer(model, changed(embedding_loss="ddl", jit_compile=jit_compile), 1, 1)
        assert model.jit_compile is jit_compile
        model.train_on_batch(inputs, targets)
        weights.append((model.get_weights(), start))
    for compiled, plain in zip(weights[1][0], weights[0][0]):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(weights[1][0][0], weights[1][1][0])
