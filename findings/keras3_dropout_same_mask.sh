#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: under MirroredStrategy dropout draws the same mask on every replica, whose random states are
# copies of one. Output seen: masks of 1,000 numbers on two replicas are equal.
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

strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    dropout = keras.layers.Dropout(0.5)
masks = strategy.run(tf.function(lambda: dropout(tf.ones([1, 1000]), training=True)))
first, second = (mask.numpy() for mask in strategy.experimental_local_results(masks))
print("equal:", np.array_equal(first, second), "kept:", 0.4 < np.mean(first > 0) < 0.6)
assert np.array_equal(first, second) and 0.4 < np.mean(first > 0) < 0.6
PYTHON
