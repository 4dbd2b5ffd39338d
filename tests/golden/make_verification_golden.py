"""What InsightFace's own verification.py says of some embeddings; see make.py.

Their script interpolates with `scipy.interpolate.interp1d(kind="slinear")` over repeated rates, which SciPy refuses
today (1.9 does, 1.5.4 did not). Before, it made the linear B-spline on the knots as they are, without a check;
`interp1d` is replaced by that spline.
"""

import importlib
import types

import numpy as np
from scipy.interpolate import BSpline
from sklearn.preprocessing import normalize

CHECKOUTS = {"insightface": "recognition/arcface_torch/eval"}
STUBS = ("mxnet", "mxnet.ndarray", "torch")


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
    sizes = {"easy": (1, 1000, 0.3), "hard": (2, 1000, 1.2), "chance": (3, 600, 30.0), "uneven": (4, 1237, 0.9)}
    sizes.update({"few": (5, 73, 0.9), "medium": (6, 1000, 0.9), "inverted": (7, 500, 0.5)})
    made = {name: _pairs(*size) for name, size in sizes.items()}
    # Similarities the wrong way round.
    made["inverted"] = made["inverted"][0], ~made["inverted"][1]
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
    return made


def _linear_spline(x, y, kind):
    return BSpline.construct_fast(np.r_[x[0], x, x[-1]], np.ascontiguousarray(y), 1)


def make(insightface):
    verification = importlib.import_module("verification")
    verification.interpolate = types.SimpleNamespace(interp1d=_linear_spline)
    golden = {}
    for name, (embeddings, same) in cases().items():
        if name == "sorted":
            _, _, accuracy = verification.calculate_roc(np.arange(0, 4, 0.01), embeddings[::2], embeddings[1::2], same)
            golden[name] = {"accuracy": accuracy.tolist()}
        else:
            _, _, accuracy, val, val_std, far = verification.evaluate(embeddings, same)
            golden[name] = {"accuracy": accuracy.tolist(), "val": val, "val_std": val_std, "far": far}
    return golden
