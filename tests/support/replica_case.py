"""Trains what must not depend on the number of replicas: `python tests/support/replica_case.py OUTPUT.npz`.

Each case is trained on one device and on 2 replicas. The rows come in a full batch of 16 and a last one of 1, which
leaves the last replica without rows. What is written: the weights after each case, and what `fit` logged.
"""

import os
import sys
import tempfile
from pathlib import Path

os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")
# oneDNN's convolution gives a batch without rows the shape of its input.
os.environ["TF_ENABLE_ONEDNN_OPTS"] = "0"

import numpy as np
import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3, all_layers
from ddl_tf.layers import PoolNeck
from ddl_tf.losses import DDLLoss, LabelledAccuracy, MarginSoftmaxLoss, OHEMLoss, ddl_metrics
from ddl_tf.models import HEADS, build_recognizer
from ddl_tf.training import build_optimizer
from ddl_tf.training.checkpoints import ResumePoint
from ddl_tf.training.micro_batches import in_micro_batches
from ddl_tf.training.objective import make_state

CLASSES, SIZE, DIM = 6, 8, 8
REPLICAS, BATCH, ROWS = 2, 16, 17
# Batch normalisation takes rows on every replica: the last batch has 8.
NORM_ROWS = 24
DDL = {"num_nodes": 50}


def make_rows(count=ROWS):
    """Images, labels (some rows have none) and identities with groups."""
    rng = np.random.default_rng(0)
    identity = rng.integers(0, CLASSES, count)
    group = np.where(np.arange(count) == 3, -1, np.arange(count) % 2)
    images = rng.uniform(0, 255, [count, SIZE, SIZE, 3]) * np.linspace(0.3, 1, CLASSES)[identity][:, None, None, None]
    labels = np.where(np.arange(count) % 4 == 1, -1, identity)
    return images.astype(np.float32), labels, np.stack([identity, group], 1)


def branches():
    """What looks beyond its own rows, each branch with weights of its own, in one model, which is traced once."""
    image = tf.keras.Input([SIZE, SIZE, 3], name="image")
    label = tf.keras.Input([], dtype=tf.int32, name="label")
    features = tf.keras.layers.Flatten()(tf.keras.layers.Rescaling(1 / 127.5, offset=-1.0)(image))
    outputs = {"embedding": tf.keras.layers.Dense(DIM, name="embedding")(features)}
    for name, head in (("statistics", "adaface"), ("regulariser", "magface"), ("hardest", "arcface")):
        embedding = tf.keras.layers.Dense(DIM)(features)
        logits = HEADS[head](CLASSES, scale=8.0)(embedding, label)
        outputs[name] = tf.keras.layers.Activation("linear", name=name)(logits)
    model = tf.keras.Model({"image": image, "label": label}, outputs)
    losses = {name: MarginSoftmaxLoss() for name in ("statistics", "regulariser")}
    losses |= {"embedding": DDLLoss(**DDL), "hardest": OHEMLoss()}
    metrics = {"embedding": ddl_metrics(1, **DDL), "statistics": LabelledAccuracy()}
    model.compile(build_optimizer("sgd", 0.05), losses, metrics=metrics)
    make_state(model)
    return model


def backbone(batch_norm=True):
    image = tf.keras.Input([SIZE, SIZE, 3])
    x = tf.keras.layers.Conv2D(6, 3, strides=2, use_bias=False)(image)
    if batch_norm:
        y = tf.keras.layers.BatchNormalization(momentum=0.9)(x)
        x = tf.keras.layers.Add()([x, y])
    return tf.keras.Model(image, tf.keras.layers.PReLU()(x))


class LinearNeck(tf.keras.layers.Layer):
    """A neck without batch norm."""

    def build(self, shape):
        self.dense = tf.keras.layers.Dense(DIM, dtype="float32")
        super().build(shape)

    def call(self, features):
        return self.dense(tf.reshape(features, [-1, int(np.prod(features.shape[1:]))]))


def recognizer(micro_batches=1, batch_norm=True, sync_batch_norm=True, recompute=False):
    """A small convolution with CurricularFace (and DDL, if there is no batch norm), a clipped gradient, momentum."""
    neck = PoolNeck(DIM) if batch_norm else LinearNeck()
    options = {"head": "curricularface", "scale": 8.0, "sync_batch_norm": sync_batch_norm, "recompute": recompute}
    model = build_recognizer(backbone(batch_norm), CLASSES, input_shape=(SIZE, SIZE, 3), neck=neck, **options)
    if micro_batches > 1:
        model = in_micro_batches(model, micro_batches)
    losses = {"logits": MarginSoftmaxLoss(), **({} if batch_norm else {"embedding": DDLLoss(**DDL)})}
    model.compile(build_optimizer("sgd", 0.05, clip_norm=1.0), losses)
    make_state(model)
    return model


class LossScaleComesDown(tf.keras.callbacks.Callback):
    """The first step's scale overflows by far, the others' by far not: no rounding decides which steps are left out."""

    def _scale(self):
        optimizer = self.model.optimizer
        return optimizer.dynamic_scale if IS_KERAS_3 else optimizer._loss_scale._current_loss_scale

    def on_train_begin(self, logs=None):
        self._scale().assign(2.0**60)

    def on_train_batch_end(self, batch, logs=None):
        self._scale().assign(2.0**8)


def fit(model, epochs=1, callbacks=()):
    has_batch_norm = any(isinstance(layer, tf.keras.layers.BatchNormalization) for layer in all_layers(model))
    images, labels, groups = make_rows(NORM_ROWS if has_batch_norm else ROWS)
    targets = {name: groups if name == "embedding" else labels for name in model.output_names}
    rows = tf.data.Dataset.from_tensor_slices(({"image": images, "label": labels}, targets)).batch(BATCH)
    return model.fit(rows, epochs=epochs, callbacks=list(callbacks), verbose=0).history


def resumed_difference(model, make):
    """By how much the weights differ when a run is resumed: the largest of what trains, and of the statistics."""
    with tempfile.TemporaryDirectory() as folder:
        ResumePoint(Path(folder), model).save(2)
        again = make()
        ResumePoint(Path(folder), again).restore()
    fit(model), fit(again)
    weights = [(m.trainable_weights, m.non_trainable_weights) for m in (model, again)]
    return np.array([max(np.abs(a - b).max() for a, b in zip(*kind)) for kind in zip(*weights)])


# Name -> the model of one device (None where it is not trained), and that of the replicas. What the replicas recompute,
# or train in micro-batches, one device does not.
CASES = {
    "branches": (branches, branches),
    "sync": (recognizer, lambda: recognizer(recompute=True)),
    "whole": (lambda: recognizer(batch_norm=False), lambda: recognizer(micro_batches=2, batch_norm=False)),
    "mixed": (recognizer, recognizer),
    "plain": (None, lambda: recognizer(sync_batch_norm=False)),
}
MIXED = ("mixed", "plain")


def main(output):
    tf.config.threading.set_inter_op_parallelism_threads(4 * REPLICAS)
    tf.config.set_logical_device_configuration(
        tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * REPLICAS
    )
    # Optimising the graphs takes longer than running them.
    tf.config.optimizer.set_experimental_options({"disable_meta_optimizer": True})
    if not IS_KERAS_3:
        tf.keras.backend.experimental.enable_tf_random_generator()
    replicas = tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(REPLICAS)])
    # How many rows each replica has in each batch, `[batches, replicas]`.
    batches = replicas.experimental_distribute_dataset(tf.data.Dataset.range(ROWS).batch(BATCH))
    rows = [[len(part) for part in replicas.experimental_local_results(batch)] for batch in batches]
    results = {"rows": np.array(rows)}
    for name, makes in CASES.items():
        tf.keras.mixed_precision.set_global_policy("mixed_float16" if name in MIXED else "float32")
        for strategy, make in zip((tf.distribute.get_strategy(), replicas), makes):
            if make is None:
                continue
            tf.keras.utils.set_random_seed(0)
            with strategy.scope():
                model = make()
                # The twin needs no graph.
                model.run_eagerly = strategy is not replicas
                # Few steps, for what half precision rounds grows fast.
                logs = fit(model, 2, [LossScaleComesDown()]) if name in MIXED else fit(model)
                case = f"{name}/{strategy.num_replicas_in_sync}"
                results.update({f"{case}/log/{key}": np.array(value) for key, value in logs.items()})
                results.update({f"{case}/weight/{k}": weight.numpy() for k, weight in enumerate(model.weights)})
                if name == "plain":
                    results["resumed"] = resumed_difference(model, make)
    np.savez(output, **results)


if __name__ == "__main__":
    main(sys.argv[1])
