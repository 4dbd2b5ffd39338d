#!/usr/bin/env bash
# mtcnn 1.0.0: `detect_faces` of several photos at once brings them to the size of the largest one, and the boxes of a
# photo depend on who is beside it. The photo is scikit-image's public one of an astronaut. Output seen: the box [182, 64, 83, 107]
# alone, with a copy and with a smaller grey picture; [183, 61, 86, 113] with a larger grey picture.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mtcnn==1.0.0 tensorflow-cpu==2.18.0 scikit-image==0.25.2 numpy==2.0.2
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" - <<'PYTHON'
import numpy as np
from mtcnn import MTCNN
from skimage.data import astronaut

photo, detector = astronaut(), MTCNN()
boxes = {"alone": detector.detect_faces(photo)[0]["box"]}
for name, beside in {
    "with a copy": photo,
    "with a smaller one": np.full([300, 300, 3], 127, np.uint8),
    "with a larger one": np.full([700, 900, 3], 127, np.uint8),
}.items():
    boxes[name] = detector.detect_faces([photo, beside])[0][0]["box"]
print(boxes)
assert boxes["with a copy"] == boxes["with a smaller one"] == boxes["alone"]
assert max(abs(np.subtract(boxes["with a larger one"], boxes["alone"]))) >= 3
PYTHON
