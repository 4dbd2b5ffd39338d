import numpy as np
import pytest
import tensorflow as tf
from keras_case import assert_weights, policy

from ddl_tf.common.keras_version import IS_KERAS_3, all_layers, random_state_in_variables
from ddl_tf.layers import PoolNeck
from ddl_tf.losses import DDLLoss, LabelledAccuracy, MarginSoftmaxLoss, ddl_metrics
from ddl_tf.models import build_recognizer
from ddl_tf.training import build_optimizer
from ddl_tf.training.micro_batches import in_micro_batches
from ddl_tf.training.objective import make_state

SHAPE, ROWS, CLASSES, DIM = (8, 8, 3), 12, 5, 8


class DropoutNeck(tf.keras.layers.Layer):
    """A neck with dropout and without batch norm."""

    def __init__(self, rate=0.0, **kwargs):
        super().__init__(**kwargs)
        self.dropout = tf.keras.layers.Dropout(rate)

    def build(self, shape):
        self.dense = tf.keras.layers.Dense(DIM, dtype="float32")
        super().build(shape)

    def call(self, features, training=None):
        return self.dense(self.dropout(tf.reduce_mean(features, [1, 2]), training=training))

    def get_config(self):
        return {**super().get_config(), "rate": self.dropout.rate}


def backbone(batch_norm=False):
    image = tf.keras.Input(SHAPE)
    x = tf.keras.layers.Conv2D(6, 3, strides=2)(image)
    if batch_norm:
        x = tf.keras.layers.BatchNormalization(momentum=0.9)(x)
    return tf.keras.Model(image, tf.keras.layers.PReLU()(x))


def recognizer(micro_batches, head="arcface", neck=None, batch_norm=False, optimizer=None):
    tf.keras.utils.set_random_seed(0)
    model = build_recognizer(
        backbone(batch_norm), CLASSES, head=head, input_shape=SHAPE, scale=8.0, neck=neck or DropoutNeck()
    )
    if micro_batches:
        model = in_micro_batches(model, micro_batches)
    model.compile(
        optimizer or build_optimizer("sgd", 0.05, clip_norm=1.0),
        loss={"embedding": DDLLoss(num_nodes=50), "logits": MarginSoftmaxLoss()},
        metrics={"embedding": ddl_metrics(1, num_nodes=50), "logits": LabelledAccuracy()},
    )
    make_state(model)
    # The graph is that of the parts; what they are compared with needs none.
    model.run_eagerly = not micro_batches
    return model


def rows():
    rng, place = np.random.default_rng(0), np.arange(ROWS)
    identity = rng.integers(0, CLASSES, ROWS)
    label = np.where(place % 4 == 1, -1, identity)
    images = rng.uniform(0, 255, [ROWS, *SHAPE]).astype(np.float32)
    targets = {"embedding": np.stack([identity, place % 2], 1), "logits": label}
    return {"image": images, "label": label}, targets


def fit(model, epochs=2):
    inputs, targets = rows()
    return model.fit(inputs, targets, batch_size=ROWS, shuffle=False, epochs=epochs, verbose=0).history


@pytest.mark.parametrize("head", ["curricularface", "magface"])
def test_the_step_is_that_of_the_whole_batch(head):
    """Weights, the head's running statistics and all that is logged; 5 parts do not divide the 12 rows."""
    whole, parts = recognizer(0, head), recognizer(5, head)
    parts.run_eagerly = head != "magface"
    start = whole.get_weights()
    logged, expected = fit(parts), fit(whole)
    assert_weights(parts.weights, whole.weights, rtol=1e-6, atol=1e-6)
    assert sorted(logged) == sorted(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(logged[name], values, rtol=1e-5, atol=1e-6, err_msg=name)
    for weight, old in zip(parts.weights, start):
        assert not np.array_equal(weight.numpy(), old), weight.name


def test_batch_norm_sees_each_part_once():
    parts = recognizer(3, neck=PoolNeck(DIM), batch_norm=True)
    norm = all_layers(parts.get_layer("backbone"))
    (norm,) = [layer for layer in norm if isinstance(layer, tf.keras.layers.BatchNormalization)]
    conv = next(layer for layer in all_layers(parts) if isinstance(layer, tf.keras.layers.Conv2D))
    images = rows()[0]["image"]
    mean = np.zeros(6)
    for part in np.split(images, 3):
        mean = 0.9 * mean + 0.1 * conv((part - 127.5) / 127.5).numpy().mean((0, 1, 2))
    fit(parts, epochs=1)
    np.testing.assert_allclose(norm.moving_mean, mean, rtol=1e-4, atol=1e-6)


def test_dropout_has_the_same_masks_in_both_passes():
    """One part is the whole batch, with the same draws as the plain step."""
    with random_state_in_variables():
        whole, single, parts = (recognizer(micro, neck=DropoutNeck(0.5)) for micro in (0, 1, 3))
        expected = fit(whole)
        assert fit(single)["loss"] == pytest.approx(expected["loss"], rel=1e-5)
        assert_weights(single.weights, whole.weights, rtol=1e-5, atol=1e-6)
        parts.run_eagerly = True
        fit(parts)
        with pytest.raises(AssertionError):
            assert_weights(parts.weights, whole.weights, rtol=1e-5, atol=1e-6)
    if not IS_KERAS_3:
        with pytest.raises(ValueError, match="cannot draw the same numbers twice"):
            fit(recognizer(2, neck=DropoutNeck(0.5)))
    with pytest.raises(ValueError, match="micro_batches must be at least 1, got 0"):
        in_micro_batches(whole, 0)


def test_mixed_precision():
    with policy("mixed_float16"):
        whole, parts = recognizer(0), recognizer(3)
        start = whole.get_weights()
        fit(parts, 1), fit(whole, 1)
    assert_weights(parts.weights, whole.weights, atol=1e-4)
    assert not np.array_equal(start[0], parts.get_weights()[0])
