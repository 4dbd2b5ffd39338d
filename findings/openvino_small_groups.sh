#!/usr/bin/env bash
# OpenVINO 2026.4.1, CPU with AVX-512: a convolution of 128 channels in 64 groups, as MobileFaceNet begins with, takes longer than one in 32
# groups, which has twice as many products: OpenVINO has no fast kernel for groups of two channels. The same convolution written with 32
# groups, whose additional weights are 0, gives the same numbers sooner. (In bfloat16 and int8 16 groups were 3 and 6 times as fast.)
# Output seen: 64 groups 1.97 ms, 32 groups with zeros 1.31 ms: 1.5 times as fast, largest difference 0e+00 of the largest value.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q "openvino==2026.4.1" "numpy<2"
cat > run.py <<'PY'
import statistics, sys
import numpy as np, openvino
from openvino import opset13 as operations

core, random = openvino.Core(), np.random.default_rng(0)
small = random.normal(size=[64, 2, 2, 3, 3]).astype(np.float32)
# Two groups in one: [[first, 0], [0, second]].
joined = np.zeros([32, 4, 4, 3, 3], np.float32)
joined[:, :2, :2], joined[:, 2:, 2:] = small[::2], small[1::2]

def compiled(kernel):
    image = operations.parameter([1, 128, 56, 56], np.float32)
    network = openvino.Model([operations.group_convolution(image, kernel, [1, 1], [1, 1], [1, 1], [1, 1])], [image])
    settings = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "PERF_COUNT": True}
    return core.compile_model(network, "CPU", settings).create_infer_request()

image = random.normal(size=[1, 128, 56, 56]).astype(np.float32)
requests = {"64": compiled(small), "32": compiled(joined)}
times, results = {name: [] for name in requests}, {}
for _ in range(41):
    for name, request in requests.items():
        results[name] = np.array(request.infer({0: image})[0])
        times[name] += [1e3 * node.real_time.total_seconds() for node in request.profiling_info if "onvolution" in node.node_type]
slow, fast = (statistics.median(times[name]) for name in ("64", "32"))
off = np.abs(results["64"] - results["32"]).max() / np.abs(results["64"]).max()
print(f"64 groups {slow:.2f} ms, 32 groups with zeros {fast:.2f} ms: {slow / fast:.1f} times as fast, largest difference {off:.0e} of the largest value")
sys.exit(0 if slow / fast > 1.2 and off < 1e-5 else 1)
PY
venv/bin/python run.py
