#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: under MirroredStrategy `global_clipnorm` (and `clipnorm`) is applied to the gradient of
# each replica before these are summed, so that a step can be as many times longer than the norm as there are replicas.
# Output seen: lengths of a step of learning rate 1, global_clipnorm 0.5: 0.5 on one replica, 1.0 on two, of the same batch.
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


def length_of_a_step(replicas):
    with tf.distribute.MirroredStrategy([f"CPU:{number}" for number in range(replicas)]).scope():
        dense = keras.layers.Dense(1, use_bias=False, kernel_initializer="zeros")
        model = keras.Sequential([keras.Input([3]), dense])
        model.compile(keras.optimizers.SGD(1.0, global_clipnorm=0.5), "mse")
    model.fit(np.ones([4, 3], np.float32), np.full([4, 1], 100, np.float32), batch_size=4, verbose=0)
    return round(float(np.linalg.norm(model.get_weights()[0])), 4)


seen = [length_of_a_step(replicas) for replicas in (1, 2)]
print(seen)
assert seen == [0.5, 1.0]
PYTHON
