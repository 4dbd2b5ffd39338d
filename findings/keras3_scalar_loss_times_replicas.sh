#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: under MirroredStrategy a loss that returns one number has its gradient multiplied by
# the number of replicas; one that returns a number per row has not. Output seen: weights after a step of the same batch
# -1.0 and -2.0 (one number; 1 and 2 replicas), -1.0 and -1.0 (per row).
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


class OneNumber(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(y_pred)


class PerRow(keras.losses.Loss):
    def call(self, y_true, y_pred):
        return keras.ops.mean(y_pred, axis=-1)


def weight_after_a_step(loss, replicas):
    with tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)]).scope():
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input([1]), dense])
        model.compile(keras.optimizers.SGD(1.0), loss)
    model.fit(np.ones([4, 1], np.float32), np.zeros([4, 1], np.float32), batch_size=4, verbose=0)
    return float(model.get_weights()[0][0, 0])


seen = {loss.__name__: [weight_after_a_step(loss(), replicas) for replicas in (1, 2)] for loss in (OneNumber, PerRow)}
print(seen)
assert seen == {"OneNumber": [-1.0, -2.0], "PerRow": [-1.0, -1.0]}
PYTHON
