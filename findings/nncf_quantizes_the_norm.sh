#!/usr/bin/env bash
# NNCF 3.4.0, OpenVINO 2026.4.1: post-training quantization of a network that ends in x / max(|x|, eps), as face embeddings do, quantizes the
# normalisation too. The squared norm gets 256 steps from 0 to the largest one that was seen, and what is added or kept for safety (eps)
# rounds to 0: an embedding comes out with any norm, and for an image whose norm is below the first step it is no number or zero.
# No warning is given. With the operations after the last convolution left out (IgnoredScope) every norm is 1.
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

def norms(network):
    compiled = ov.Core().compile_model(network, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
    return np.linalg.norm(compiled(images)[0], axis=1)

dataset = nncf.Dataset([picture[None] for picture in images])
after = [node.get_friendly_name() for node in model.get_ordered_ops() if node.get_type_name() in
         ("MatMul", "Multiply", "ReduceSum", "Maximum", "Sqrt", "Divide", "Reshape")]
whole = norms(nncf.quantize(model.clone(), dataset, subset_size=64))
kept = norms(nncf.quantize(model.clone(), dataset, subset_size=64, ignored_scope=nncf.IgnoredScope(names=after)))
exact = norms(model)
bad = int(np.sum(~np.isfinite(whole))), int(np.sum(whole == 0))
print("float:", exact.min(), exact.max(), "| quantized, no number:", bad[0], "zero:", bad[1], "norms of the others:",
      np.nanmin(whole), np.nanmax(whole), "| normalisation left out:", kept.min(), kept.max())
off = np.nan_to_num(np.abs(whole - 1), nan=9)
sys.exit(0 if np.allclose(exact, 1, atol=1e-4) and np.allclose(kept, 1, atol=1e-4) and off.max() > 0.1 else 1)
PY
venv/bin/python run.py 2>/dev/null | grep "^float"
