#!/usr/bin/env bash
# PyEER 0.5.6: its curve ends at the largest score, where something is still accepted. If that is an impostor's, ZeroFMR, "the lowest
# FNMR at which no false matches occur", is the FNMR at an FMR above 0, and the AUC lacks the last piece of the area.
# Output seen, of 4 genuine and 4 impostor scores, the highest of an impostor: ZeroFMR 0.0, at the threshold 0.5, where the FMR is 0.25
# (without a false match all 4 genuine are rejected: 1.0). AUC of 4 tied pairs of scores: 0.0, where scikit-learn has 0.5.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q pyeer==0.5.6 numpy==1.26.4 scikit-learn==1.5.2
"$work/venv/bin/python" -W ignore - <<'PYTHON'
import numpy as np
from pyeer.eer_info import get_eer_stats
from sklearn.metrics import roc_auc_score

genuine, impostor = [0.5, 0.6, 0.7, 0.8], [0.9, 0.3, 0.2, 0.1]
stats = get_eer_stats(genuine, impostor)
fmr = np.mean(np.array(impostor) >= stats.fmr0_th)
print(f"ZeroFMR {stats.fmr0}, at the threshold {stats.fmr0_th}, where the FMR is {fmr}")
assert (stats.fmr0, fmr) == (0.0, 0.25)
tied = get_eer_stats([0.5] * 4, [0.5] * 4).auc
right = roc_auc_score([1] * 4 + [0] * 4, [0.5] * 8)
print(f"AUC of tied scores {tied}, scikit-learn {right}")
assert (tied, right) == (0.0, 0.5)
PYTHON
