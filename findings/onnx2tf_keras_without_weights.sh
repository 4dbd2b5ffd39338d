#!/usr/bin/env bash
# onnx2tf 1.29.24 on TensorFlow 2.19.0: the Keras file of `-okv3` has no weights. Kernels, batch norm and PReLU are constants in
# tf.* operations, so that nothing can be trained or frozen; with a grouped convolution there is no Keras file, and the exit code is 0.
# A network of RGB images first downloads a file of sample images from GitHub, unless it lies in the working folder.
# Output seen: {'plain': {'exit code': 0, 'weights': 0, 'kinds': ['InputLayer', 'TFOpLambda'], 'difference': below 1e-5},
# 'grouped': {'exit code': 0, 'weights': None}}; without the file of sample images the exit code is 1.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
# It pins all that it needs, TensorFlow 2.19.0 too.
"$work/venv/bin/pip" install -q onnx2tf==1.29.24
cd "$work"
export TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 TF_USE_LEGACY_KERAS=1 PATH="$work/venv/bin:$PATH"
python - <<'PYTHON'
import os
import subprocess

import numpy as np
import onnxruntime
import tf_keras
from onnx import TensorProto, helper, numpy_helper

random = np.random.default_rng(0)


def network(name, inputs, group):
    channels = 8
    values = {"kernel": random.normal(size=(channels, inputs // group, 3, 3)), "slope": np.full((channels, 1, 1), 0.25)}
    values |= {part: random.uniform(0.5, 1.5, channels) for part in ("gamma", "beta", "mean", "variance")}
    nodes = [
        helper.make_node("Conv", ["image", "kernel"], ["a"], group=group, pads=[1] * 4, kernel_shape=[3, 3]),
        helper.make_node("BatchNormalization", ["a", "gamma", "beta", "mean", "variance"], ["b"]),
        helper.make_node("PRelu", ["b", "slope"], ["c"]),
    ]
    ends = [
        helper.make_tensor_value_info(end, TensorProto.FLOAT, [1, size, 16, 16])
        for end, size in (("image", inputs), ("c", channels))
    ]
    weights = [numpy_helper.from_array(value.astype(np.float32), key) for key, value in values.items()]
    graph = helper.make_graph(nodes, name, ends[:1], ends[1:], weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    with open(f"{name}.onnx", "wb") as file:
        file.write(model.SerializeToString())


def convert(name, **environment):
    command = ["onnx2tf", "-i", f"{name}.onnx", "-o", name, "-okv3", "-n", "-v", "error"]
    done = subprocess.run(command, env={**os.environ, **environment}, capture_output=True, text=True)
    return done.returncode


network("plain", 3, 1)
network("grouped", 4, 2)
# A proxy that nobody answers at stands for a machine without a way to GitHub.
without_samples = convert("plain", https_proxy="http://127.0.0.1:9", HTTPS_PROXY="http://127.0.0.1:9")
samples = random.uniform(size=(20, 128, 128, 3)).astype(np.float32)
np.save("calibration_image_sample_data_20x128x128x3_float32.npy", samples)
seen = {}
for name in ("plain", "grouped"):
    seen[name] = {"exit code": convert(name), "weights": None}
    file = f"{name}/{name}_float32_v3.keras"
    if os.path.exists(file):
        model = tf_keras.models.load_model(file, safe_mode=False)
        image = random.uniform(-1, 1, (1, 16, 16, 3)).astype(np.float32)
        session = onnxruntime.InferenceSession(f"{name}.onnx")
        (expected,) = session.run(None, {"image": image.transpose(0, 3, 1, 2)})
        seen[name]["weights"] = len(model.weights)
        seen[name]["kinds"] = sorted({type(layer).__name__ for layer in model.layers})
        seen[name]["difference"] = float(np.abs(model(image).numpy().transpose(0, 3, 1, 2) - expected).max())
print(seen, "without the sample images:", without_samples)
assert without_samples == 1
assert seen["plain"].pop("difference") < 1e-5
assert seen["plain"] == {"exit code": 0, "weights": 0, "kinds": ["InputLayer", "TFOpLambda"]}
assert seen["grouped"] == {"exit code": 0, "weights": None}
PYTHON
