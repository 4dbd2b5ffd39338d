#!/usr/bin/env bash
# mtcnn 1.0.0: the five landmarks come in two orders. `output_type="json"` (the default) names nose, mouth_right, right_eye,
# left_eye, mouth_left, in this order, as numpy.int64, which the json module refuses. `output_type="numpy"` has five x and then
# five y, of left eye, right eye, nose, mouth left, mouth right. Output seen: those names; "Object of type int64 is not JSON serializable".
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q mtcnn==1.0.0 tensorflow-cpu==2.18.0 scikit-image==0.25.2 numpy==2.0.2
TF_CPP_MIN_LOG_LEVEL=3 CUDA_VISIBLE_DEVICES=-1 "$work/venv/bin/python" - <<'PYTHON'
import json

import numpy as np
from mtcnn import MTCNN
from skimage.data import astronaut

photo, detector = astronaut(), MTCNN()
face = detector.detect_faces(photo)[0]
names = list(face["keypoints"])
print(names)
assert names == ["nose", "mouth_right", "right_eye", "left_eye", "mouth_left"]
try:
    json.dumps(face)
except TypeError as error:
    print(error)
else:
    raise AssertionError("the face is JSON now")
# Image, box, score, then the points.
numbers = detector.detect_faces(photo, output_type="numpy")[0][6:]
points = np.stack([numbers[:5], numbers[5:]], axis=1)
in_order = [face["keypoints"][name] for name in ("left_eye", "right_eye", "nose", "mouth_left", "mouth_right")]
assert np.abs(points - in_order).max() <= 1
PYTHON
