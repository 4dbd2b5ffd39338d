"""What the script of Schlett et al., dasec/quality-assessment-evaluation, says of some qualities; see make.py."""

import importlib

import numpy as np

CHECKOUTS = {"quality_assessment_evaluation": ""}
LIMITS = (0.05, 0.2, 0.5)


def _pairs(seed, count, levels=None):
    """Pairs of one person: the qualities of their two images `[pairs, 2]`, similarities, and a threshold."""
    random = np.random.RandomState(seed)
    quality = random.uniform(size=[count, 2])
    if levels:
        quality = np.floor(quality * levels)
    scaled = quality.min(axis=1) / quality.max()
    similarity = 0.7 * scaled + 0.3 * random.normal(size=count)
    return quality, similarity, float(np.quantile(similarity, 0.1, method="higher"))


def cases():
    """Name -> qualities, similarities, threshold."""
    return {
        "continuous": _pairs(0, 120),
        "few levels": _pairs(1, 400, levels=5),
        "many levels": _pairs(2, 150, levels=60),
    }


def make(quality_assessment_evaluation):
    edc = importlib.import_module("edc")
    golden = {}
    for name, (quality, similarity, threshold) in cases().items():
        pairs = [
            {"samples": tuple({"quality_score": side} for side in sides), "similarity_score": score}
            for sides, score in zip(quality.tolist(), similarity.tolist())
        ]
        curve = edc.compute_edc(edc.EdcErrorType.FNMR, pairs, similarity_score_threshold=threshold)
        # The last point is one that they add for plots.
        points = {key: curve[f"{key}_fractions"][:-1].tolist() for key in ("discard", "error")}
        golden[name] = {**points, "pauc": [edc.compute_edc_pauc(curve, limit) for limit in LIMITS]}
    return golden
