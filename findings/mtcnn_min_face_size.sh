#!/usr/bin/env bash
# mtcnn 1.0.0: `detect_faces` with a `min_face_size` of 29 or more (from 21 to 28 it depends on the photo's size) finds no face at all, and raises
# nothing. Its pyramid has as many levels whatever the size, the last ones fall below the 12 pixels of the first network's view, and the
# InvalidArgumentError of TensorFlow is taken for "no faces". The photo is scikit-image's public one of an astronaut, whose face
# is 83 x 107 pixels. Output seen: {15: 1, 20: 1, 30: 0, 40: 0, 80: 0}.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mtcnn==1.0.0 tensorflow-cpu==2.18.0 scikit-image==0.25.2 numpy==2.0.2
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" - <<'PYTHON'
from mtcnn import MTCNN
from skimage.data import astronaut

photo, detector = astronaut(), MTCNN()
found = {size: len(detector.detect_faces(photo, min_face_size=size)) for size in (15, 20, 30, 40, 80)}
print(found)
left, top, width, height = detector.detect_faces(photo)[0]["box"]
print(width, height)
assert min(width, height) > 80
assert found[20] >= 1
assert all(found[size] == 0 for size in (30, 40, 80))
PYTHON
