#!/usr/bin/env bash
# TensorFlow 2.21.0 (2.15.1 too) on a CPU with AVX-512 BF16: the gradient of a depthwise convolution by its input takes more than ten times
# as long in bfloat16 as in float32 where it has strides, and no longer where it has none. Nothing says so. One thread, 16 x 30 x 30 x 256,
# 3x3, CPU time. Output seen, bfloat16 / float32 by stride: {1: 0.5, 2: 31.2}. A CPU without avx512_bf16 cannot show it.
set -euo pipefail
if ! grep -qm1 avx512_bf16 /proc/cpuinfo; then
    echo "this CPU has no avx512_bf16" >&2
    exit 2
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow-cpu==2.21.0 numpy==2.3.5
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" - <<'PYTHON'
import time

import numpy as np
import tensorflow as tf

tf.config.threading.set_intra_op_parallelism_threads(1)


def milliseconds(dtype, stride):
    size = [16, (30 - 3) // stride + 1, (30 - 3) // stride + 1, 256]
    kernel, gradient = (tf.cast(tf.random.normal(shape), dtype) for shape in ([3, 3, 256, 1], size))
    taken = []
    for _ in range(9):
        began = time.process_time()
        tf.raw_ops.DepthwiseConv2dNativeBackpropInput(
            input_sizes=[16, 30, 30, 256],
            filter=kernel,
            out_backprop=gradient,
            strides=[1, stride, stride, 1],
            padding="VALID",
        )
        taken.append(1e3 * (time.process_time() - began))
    return float(np.median(taken))


ratio = {stride: milliseconds("bfloat16", stride) / milliseconds("float32", stride) for stride in (1, 2)}
print("time of bfloat16 / float32, by stride:", {stride: round(value, 1) for stride, value in ratio.items()})
assert ratio[1] < 3 and ratio[2] > 5
PYTHON
