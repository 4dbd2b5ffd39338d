#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: before the first step of `fit` under MirroredStrategy, losses and metrics are called once on
# the mean of the replicas' targets: a metric sees class numbers as float64, and one that wants whole numbers stops the run. On one
# device it sees them as they are. If the first batch does not divide, the mean of parts of two sizes fails. Output seen: types of
# the targets {'int64'} without a strategy, {'float64', 'int64'} with two replicas; five rows: InvalidArgumentError.
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


class Types(keras.metrics.Metric):
    seen = set()

    def update_state(self, y_true, y_pred, sample_weight=None):
        self.seen.add(y_true.dtype.name)

    def result(self):
        return 0.0


def types_of_targets(scope, rows):
    Types.seen = set()
    with scope:
        model = keras.Sequential([keras.Input([1]), keras.layers.Dense(3)])
        model.compile("sgd", "sparse_categorical_crossentropy", metrics=[Types()])
    data = tf.data.Dataset.from_tensor_slices((np.ones([rows, 1], np.float32), np.arange(rows) % 3)).batch(rows)
    try:
        model.fit(data, verbose=0)
    except tf.errors.InvalidArgumentError as error:
        return type(error).__name__
    return Types.seen


def replicas():
    return tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope()


seen = [types_of_targets(tf.distribute.get_strategy().scope(), 4), types_of_targets(replicas(), 4), types_of_targets(replicas(), 5)]
print(seen)
assert seen == [{"int64"}, {"float64", "int64"}, "InvalidArgumentError"]
PYTHON
