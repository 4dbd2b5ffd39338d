#!/usr/bin/env bash
# NNCF 3.4.0, OpenVINO 2026.4.1: post-training quantization of a network that ends in x / sqrt(max(sum x^2, eps)), as face embeddings do,
# quantizes the normalisation too. What comes out of max(..., eps) gets 256 steps from 0 to the largest that was seen, so that eps, and with
# it every small norm, becomes 0: the embedding of a dark picture is 0 / 0, no number, and others have norms of 0.9 to 1.4. No warning is
# given. With the operations after the last convolution left out (IgnoredScope) every norm is 1.
# Output seen: dark pictures without a number: 8 of 8, norms of others: 0.97 to 1.43; normalisation left out: 1 to 1 for all.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
python3 -m venv venv
venv/bin/pip install -q "openvino==2026.4.1" "nncf==3.4.0" "numpy<2"
cat > run.py <<'PY'
import logging, sys
import numpy as np, openvino as ov, nncf
from openvino import opset13 as op

nncf.set_log_level(logging.ERROR)
random = np.random.default_rng(0)
image = op.parameter([-1, 3, 16, 16], np.float32, name="image")
kernel = op.constant(random.normal(0, 0.2, [16, 3, 3, 3]).astype(np.float32))
features = op.relu(op.convolution(image, kernel, [2, 2], [0, 0], [0, 0], [1, 1]))
flat = op.reshape(features, op.constant(np.array([0, -1])), special_zero=True)
dense = op.matmul(flat, op.constant(random.normal(0, 0.05, [16 * 49, 32]).astype(np.float32)), False, False)
square = op.reduce_sum(op.multiply(dense, dense), np.array([1]), keep_dims=True)
norm = op.sqrt(op.maximum(square, op.constant(np.float32(1e-12))))
model = ov.Model([op.divide(dense, norm)], [image], "embedding")
# Bright pictures and dark ones, as from cameras.
images = random.uniform(0, 1, [64, 3, 16, 16]).astype(np.float32) * random.uniform(0.02, 1, [64, 1, 1, 1]).astype(np.float32)

dark = np.float32(0.02) * images[:8] / images[:8].max(axis=(1, 2, 3), keepdims=True)

def norms(network):
    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return [np.linalg.norm(compiled(pictures)[0], axis=1) for pictures in (images, dark)]

dataset = nncf.Dataset([picture[None] for picture in images])
after = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in
         ("MatMul", "Multiply", "ReduceSum", "Maximum", "Sqrt", "Divide", "Reshape")]
whole = norms(nncf.quantize(model.clone(), dataset, subset_size=64))
kept = norms(nncf.quantize(model.clone(), dataset, subset_size=64, ignored_scope=nncf.IgnoredScope(names=after)))
exact = norms(model)
print("dark pictures without a number:", int(np.isnan(whole[1]).sum()), "of 8, norms of others:", whole[0].min(), "to", whole[0].max(),
      "; normalisation left out:", np.concatenate(kept).min(), "to", np.concatenate(kept).max())
fine = all(np.allclose(np.concatenate(rows), 1, atol=1e-4) for rows in (exact, kept))
sys.exit(0 if fine and np.isnan(whole[1]).all() and np.abs(whole[0] - 1).max() > 0.1 else 1)
PY
venv/bin/python run.py 2>/dev/null | grep "^dark"
