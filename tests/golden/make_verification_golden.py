"""Make verification_golden.json: what InsightFace's own verification.py says of some embeddings.

Run by hand, on a checkout of https://github.com/deepinsight/insightface:

    python tests/golden/make_verification_golden.py --insightface=PATH

Their script imports MXNet for reading images only; it is replaced by an empty module here. It also interpolates with
`scipy.interpolate.interp1d(kind="slinear")` over repeated rates, which SciPy refuses today (1.9 does, 1.5.4 did not).
Before, it made the linear B-spline on the knots as they are, without a check; `interp1d` is replaced by that spline.
"""

import argparse
import importlib
import json
import sys
import types
from pathlib import Path

import numpy as np
from sklearn.preprocessing import normalize

GOLDEN = Path(__file__).with_name("verification_golden.json")


def _pairs(seed, pairs, noise, dim=32):
    """Same pairs are one direction with noise; different pairs are two; in random order."""
    random = np.random.RandomState(seed)
    same = random.permutation(np.arange(pairs) % 2 == 0)
    faces = random.normal(size=[pairs, 2, dim])
    faces[same, 1] = faces[same, 0]
    embeddings = faces + noise * random.normal(size=faces.shape)
    return normalize(embeddings.reshape(-1, dim)), same


def cases():
    """Name -> unit embeddings [2 * pairs, dim] (first, second, first, ...) and same [pairs]."""
    made = {
        "easy": _pairs(1, 1000, 0.3),
        "hard": _pairs(2, 1000, 1.2),
        "chance": _pairs(3, 600, 30.0),
        "uneven": _pairs(4, 1237, 0.9),
        "few": _pairs(5, 73, 0.9),
        "medium": _pairs(6, 1000, 0.9),
    }
    embeddings, same = made["medium"]
    # Different pairs farther apart than any threshold: no threshold has the FAR that is asked for.
    opposite = np.repeat(embeddings[::2], 2, axis=0)
    opposite[1::2][~same] *= -1
    made["opposite"] = opposite, same
    # As in LFW's View 1 list: every tenth holds one class only, and their calculate_val divides by zero.
    order = np.argsort(~same, kind="stable")
    made["sorted"] = embeddings.reshape(len(same), 2, -1)[order].reshape(embeddings.shape), same[order]
    # A network that gives one embedding for everything.
    made["collapsed"] = np.ones_like(embeddings) / np.sqrt(embeddings.shape[1]), same
    # Similarities the wrong way round.
    made["inverted"] = _pairs(7, 500, 0.5)[0], ~_pairs(7, 500, 0.5)[1]
    return made


class _LinearSpline:
    def __init__(self, x, y, kind):
        assert kind == "slinear"
        from scipy.interpolate import BSpline

        self._spline = BSpline.construct_fast(np.r_[x[0], x, x[-1]], np.ascontiguousarray(y), 1)

    def __call__(self, x):
        return self._spline(x)


def main():
    """Write the golden file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--insightface", required=True, help="folder of the checkout")
    folder = Path(parser.parse_args().insightface) / "recognition" / "arcface_torch" / "eval"
    sys.modules["mxnet"] = types.ModuleType("mxnet")
    sys.modules["mxnet"].ndarray = types.ModuleType("mxnet.ndarray")
    sys.path.insert(0, str(folder))
    verification = importlib.import_module("verification")
    verification.interpolate = types.SimpleNamespace(interp1d=_LinearSpline)
    golden = {}
    for name, (embeddings, same) in cases().items():
        if name == "sorted":
            _, _, accuracy = verification.calculate_roc(np.arange(0, 4, 0.01), embeddings[::2], embeddings[1::2], same)
            golden[name] = {"accuracy": accuracy.tolist()}
            continue
        _, _, accuracy, val, val_std, far = verification.evaluate(embeddings, same)
        golden[name] = {"accuracy": accuracy.tolist(), "val": val, "val_std": val_std, "far": far}
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
