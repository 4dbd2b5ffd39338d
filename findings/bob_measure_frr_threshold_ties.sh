#!/usr/bin/env bash
# bob.measure 6.1.1: `frr_threshold` documents "the threshold such that the real FNR is at most the requested `frr_value`". If the
# smallest positive score is there twice, it returns the next number above it, which rejects both: of 5 positives, asked for an FNR of
# 0 or 0.1, the FNR at its threshold is 0.4. (`farfrr` accepts a score that equals the threshold, so that 0.5 itself would do.)
# Output seen: 0.0 -> 0.5000000000000001, FNR 0.4; 0.1 -> 0.5000000000000001, FNR 0.4.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 -m venv "$work/venv"
"$work/venv/bin/pip" install -q bob.measure==6.1.1 numpy==1.26.4
"$work/venv/bin/python" - <<'PYTHON'
import bob.measure
import numpy as np

negatives, positives = np.array([0.1, 0.2, 0.3, 0.4]), np.array([0.5, 0.5, 0.6, 0.7, 0.8])
for wanted in (0.0, 0.1):
    threshold = bob.measure.frr_threshold(negatives, positives, wanted)
    _, fnr = bob.measure.farfrr(negatives, positives, threshold)
    print(f"{wanted} -> {threshold!r}, FNR {fnr}")
    assert fnr == 0.4 > wanted
assert bob.measure.farfrr(negatives, positives, 0.5) == (0.0, 0.0)
PYTHON
