#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: under MirroredStrategy `predict_on_batch` runs all rows on every replica and gives them one
# set after the other; `predict` gives each row once. Output seen: 6 rows give 12 (two replicas) by predict_on_batch, 6 by predict.
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

with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
    model = keras.Sequential([keras.Input([2]), keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")])
    model.compile("sgd", "mse")
rows = np.arange(12, dtype=np.float32).reshape(6, 2)
repeated, once = model.predict_on_batch(rows), model.predict(rows, batch_size=6, verbose=0)
print(repeated.shape, once.shape)
assert repeated.shape == (12, 1) and once.shape == (6, 1)
np.testing.assert_array_equal(repeated, np.concatenate([once, once]))
PYTHON
