#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: under MirroredStrategy the losses that a layer adds are in one list for all replicas. Where the
# layer waits for the others (a sum over replicas, say) before it calls `add_loss`, the second replica finds the first one's there too,
# and counts both. Output seen: losses a replica has 1 and 2, where each added one.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.3.5
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np
import tensorflow as tf

tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)


class Adds(keras.layers.Layer):
    def call(self, x):
        replica = tf.distribute.get_replica_context()
        if replica is not None:
            replica.all_reduce(tf.distribute.ReduceOp.SUM, tf.reduce_sum(x))
        self.add_loss(tf.reduce_sum(x))
        return x


class Counts(keras.Model):
    seen = []

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        if tf.distribute.get_replica_context() is not None:
            self.seen.append(len(self.losses))
        return super().compute_loss(x, y, y_pred, sample_weight, training)


with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    inputs = keras.Input([2])
    model = Counts(inputs, keras.layers.Dense(1)(Adds()(inputs)))
    model.compile("sgd", "mse")
data = tf.data.Dataset.from_tensors((np.ones([4, 2], np.float32), np.ones([4, 1], np.float32)))
model.fit(data, verbose=0)
print(Counts.seen)
assert Counts.seen[-2:] == [1, 2]
PYTHON
