"""A recognizer with a sharded head and its twin with the full head, trained on the same batches."""

import numpy as np
import tensorflow as tf

from ddl_tf.layers import AdaFace, ArcFace, ShardedHead
from ddl_tf.layers.sharded import assembled
from ddl_tf.losses import LabelledAccuracy, MarginSoftmaxLoss
from ddl_tf.training import build_optimizer
from ddl_tf.training.objective import make_state

# Two shards do not come out even.
CLASSES, DIM = 13, 6
HEADS = {
    "arcface": lambda: ArcFace(CLASSES, scale=8.0),
    "adaface": lambda: AdaFace(CLASSES, scale=8.0, t_alpha=0.5),
}


def make_model(head, optimizer="sgd", clip_norm=None):
    inputs = [tf.keras.Input([3]), tf.keras.Input([], dtype=tf.int32)]
    embeddings = tf.keras.layers.Dense(DIM, name="dense")(inputs[0])
    head = type(head).from_config({**head.get_config(), "name": "head"})
    model = tf.keras.Model(inputs, head(embeddings, inputs[1]))
    # AdamW makes of every gradient a step of one length, also of what is zero but for rounding.
    rate = 0.1 if optimizer == "sgd" else 0.01
    made = build_optimizer(optimizer, rate, momentum=0.9, weight_decay=0.01, clip_norm=clip_norm)
    model.compile(made, MarginSoftmaxLoss(compact=head.compact), metrics=[LabelledAccuracy(compact=head.compact)])
    make_state(model)
    return model


def make_rows(steps, rows=8):
    random = np.random.default_rng(1)
    features = random.normal(size=[rows * steps, 3]).astype(np.float32)
    # The last half of a batch has no labels.
    labels = np.where(np.arange(rows * steps) % rows < rows // 2, random.integers(0, CLASSES, rows * steps), -1)
    labels[1 :: rows // 4] = CLASSES - 1
    return tf.data.Dataset.from_tensor_slices(((features, labels), labels)).batch(rows)


def trained_twins(make_head, strategy, rows, **arguments):
    """The full head on one device, the sharded one on a strategy, and their histories."""
    full = make_model(make_head(), **arguments)
    with strategy.scope():
        sharded = make_model(ShardedHead(make_head()), **arguments)
        sharded.get_layer("dense").set_weights(full.get_layer("dense").get_weights())
        sharded.get_layer("head").assign_centers(full.get_layer("head").centers_by_class())
    full.run_eagerly = True
    histories = [model.fit(rows, epochs=2, verbose=0).history for model in (full, sharded)]
    return full, sharded, *histories


def check_twins(full, sharded, history, other_history):
    assert history.keys() == other_history.keys()
    for key, values in history.items():
        np.testing.assert_allclose(other_history[key], values, rtol=1e-5, err_msg=key)
    for expected, weight in zip(full.get_layer("dense").weights, sharded.get_layer("dense").weights):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-5, atol=1e-5)
        for copy in getattr(weight, "values", [weight]):
            np.testing.assert_array_equal(copy.numpy(), weight.numpy())
    full_head, head = full.get_layer("head"), sharded.get_layer("head")
    np.testing.assert_allclose(head.centers_by_class(), full_head.centers_by_class(), rtol=1e-5, atol=1e-5)
    for expected, weight in zip(full_head.non_trainable_weights, head.head.non_trainable_weights):
        np.testing.assert_allclose(weight.numpy(), expected.numpy(), rtol=1e-5, err_msg=expected.name)
    for slot, shards in zip(slots_of(full, full_head.class_centers), slots_of(sharded, head.class_shard)):
        np.testing.assert_allclose(assembled(shards, CLASSES), tf.transpose(slot), rtol=1e-4, atol=1e-5)


def slots_of(model, weight):
    slots = [variable for variable in model.optimizer.variables if variable.shape == weight.shape]
    assert slots
    return slots
