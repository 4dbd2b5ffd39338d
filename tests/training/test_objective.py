"""Every loss that a flag names is what is minimised, with that flag's numbers."""

import dataclasses

import numpy as np
import pytest
import tensorflow as tf
from needs import needs_tensorflow_addons

from ddl_tf import losses
from ddl_tf.common.errors import InputError
from ddl_tf.models import build_recognizer
from ddl_tf.training import TrainSettings
from ddl_tf.training.micro_batches import in_micro_batches
from ddl_tf.training.objective import build_embedding_loss, build_logits_loss, compile_recognizer

SETTINGS = TrainSettings(run_dir="run", train_data=["set"], pairs_per_group=2, learning_rate=0.05, epochs=1, scale=16.0)

TRIPLET = {"embedding_loss": "triplet", "triplet_margin": 0.4}, losses.TripletLoss, {"margin": 0.4}


def changed(**changes):
    return dataclasses.replace(SETTINGS, **changes)


@pytest.mark.parametrize(
    ("changes", "kind", "config"),
    [
        ({"logits_loss": "softmax", "label_smoothing": 0.1}, losses.MarginSoftmaxLoss, {"label_smoothing": 0.1}),
        ({"logits_loss": "focal", "focal_gamma": 1.5}, losses.FocalLoss, {"gamma": 1.5}),
        ({"logits_loss": "ohem", "ohem_keep": 0.25}, losses.OHEMLoss, {"keep_fraction": 0.25}),
        ({"embedding_loss": "ddl", "bandwidth": 0.2}, losses.DDLLoss, {"bandwidth": 0.2}),
        pytest.param(*TRIPLET, marks=needs_tensorflow_addons),
        ({"embedding_loss": "histogram", "histogram_bins": 51}, losses.HistogramLoss, {"num_bins": 51}),
        ({"embedding_loss": "rkd", "rkd_angle_weight": 3.0}, losses.RKDLoss, {"angle_weight": 3.0}),
        ({"embedding_loss": "sp"}, losses.SPLoss, {}),
    ],
)
def test_losses_by_name(changes, kind, config):
    settings = changed(**changes, shared_identities=True)
    made = build_embedding_loss(settings, 1) or build_logits_loss(settings, settings.label_smoothing, False)
    assert type(made) is kind
    assert config.items() <= made.get_config().items()


def test_embedding_losses_need_groups():
    with pytest.raises(InputError, match="embedding_loss=sp compares the groups identity by identity"):
        changed(embedding_loss="sp")
    with pytest.raises(InputError, match="embedding_loss=triplet needs rows with groups"):
        changed(embedding_loss="triplet", pairs_per_group=0)


def test_a_compiled_step_minimises_the_same():
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
        settings = changed(embedding_loss="ddl", embedding_weight=2.0, jit_compile=jit_compile)
        compile_recognizer(model, settings, 1, 1)
        assert model.jit_compile is jit_compile
        logs = model.train_on_batch(inputs, targets, return_dict=True)
        assert logs["loss"] == pytest.approx(logs["logits_loss"] + 2 * logs["embedding_loss"], rel=1e-4)
        assert logs["embedding_loss"] != 0
        assert "embedding_gap_1" in logs
        weights.append((model.get_weights(), start))
    for compiled, plain in zip(weights[1][0], weights[0][0]):
        np.testing.assert_allclose(compiled, plain, rtol=1e-4, atol=1e-5)
    assert not np.array_equal(weights[1][0][0], weights[1][1][0])
