#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: under MirroredStrategy LossScaleOptimizer, which mixed_float16 brings, looks at the gradients of
# the first replica alone before these are summed. Where those of another overflow, the step is done, and the weights are infinite.
# Output seen: weights [-inf -inf] with the large row on the second replica, [1. 1.] (the step left out) with it on the first.
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

keras.config.set_dtype_policy("mixed_float16")


def weights(rows):
    with tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"]).scope():
        inputs = keras.Input([2])
        outputs = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")(inputs)
        model = keras.Model(inputs, outputs)
        model.compile(keras.optimizers.SGD(0.1), "mse")
    data = tf.data.Dataset.from_tensor_slices((np.array(rows, np.float32), np.zeros([2, 1], np.float32))).batch(2)
    model.fit(data, verbose=0)
    return model.get_weights()[0][:, 0]


small, large = [1e-4, 1e-4], [6e4, 6e4]
seen = weights([small, large]), weights([large, small])
print(*seen)
assert not np.any(np.isfinite(seen[0])) and np.array_equal(seen[1], [1, 1])
PYTHON
