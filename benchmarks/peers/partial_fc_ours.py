"""A step of the sampled head, or of the sampled and sharded one, as Keras trains it."""

import json
import sys
from collections.abc import Callable

import numpy as np
import tensorflow as tf
from partial_fc_measuring import make_batch, serve

from ddl_tf.layers import ArcFace, PartialFC, ShardedHead
from ddl_tf.losses import MarginSoftmaxLoss
from ddl_tf.training import build_optimizer

settings = json.loads(sys.argv[1])
tf.config.threading.set_intra_op_parallelism_threads(settings["threads"])
# Replicas wait for each other.
tf.config.threading.set_inter_op_parallelism_threads(settings["threads"] if settings["ranks"] == 1 else 8)
devices = [tf.config.LogicalDeviceConfiguration()] * settings["ranks"]
tf.config.set_logical_device_configuration(tf.config.list_physical_devices("CPU")[0], devices)
tf.zeros([])


def build() -> Callable[[], object]:
    """Make the head, and a dense layer that stands for the network."""
    tf.keras.utils.set_random_seed(0)
    dim, rows, identities, ranks = (settings[name] for name in ("dim", "rows", "identities", "ranks"))
    strategy = tf.distribute.get_strategy()
    if ranks > 1:
        strategy = tf.distribute.MirroredStrategy([f"CPU:{k}" for k in range(ranks)])
    with strategy.scope():
        wrap = PartialFC if ranks == 1 else ShardedHead
        inputs = [tf.keras.Input([dim]), tf.keras.Input([], dtype=tf.int32)]
        head = wrap(ArcFace(identities), settings["sample_rate"])
        model = tf.keras.Model(inputs, head(tf.keras.layers.Dense(dim)(inputs[0]), inputs[1]))
        model.compile(build_optimizer("sgd", 0.1), MarginSoftmaxLoss(compact=True), jit_compile=False)
    features, labels = make_batch(rows, dim, identities)
    batches = tf.data.Dataset.from_tensors(((features, labels), labels)).unbatch().repeat()
    batches = iter(strategy.experimental_distribute_dataset(batches.batch(rows, drop_remainder=True)))
    train = model.make_train_function() or model.train_function
    return lambda: [np.asarray(value) for value in tf.nest.flatten(train(batches))]


def device_memory() -> int:
    """Read the peak of what TensorFlow has taken of the GPU, in bytes."""
    return tf.config.experimental.get_memory_info("GPU:0")["peak"]


serve(build, device_memory if tf.config.list_physical_devices("GPU") else None)
