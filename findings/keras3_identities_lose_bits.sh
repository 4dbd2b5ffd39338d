#!/usr/bin/env bash
# Keras 3.15.1 on TensorFlow 2.21.0: `Loss.__call__` casts targets to float32, so that the integers 16777216 and
# 16777217, two identities, are equal in `call`. Output seen: "int64 targets arrive as float32; 16777216 == 16777217: True".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q tensorflow-cpu==2.21.0 keras==3.15.1 numpy==2.3.5
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" - <<'PYTHON'
import keras
import numpy as np


class SameIdentity(keras.losses.Loss):
    """1 for a row whose identity equals the first row's."""

    def call(self, y_true, y_pred):
        self.seen = keras.backend.standardize_dtype(y_true.dtype)
        return keras.ops.cast(y_true[:, 0] == y_true[0, 0], y_pred.dtype) + 0 * y_pred[:, 0]


identities = np.array([[2**24], [2**24 + 1]], np.int64)
loss = SameIdentity(reduction="none")
rows = keras.ops.convert_to_numpy(loss(identities, np.zeros([2, 1], np.float32)))
print(f"int64 targets arrive as {loss.seen}; {2**24} == {2**24 + 1}: {bool(rows[1])}")
assert loss.seen == "float32" and rows.tolist() == [1.0, 1.0]
PYTHON
