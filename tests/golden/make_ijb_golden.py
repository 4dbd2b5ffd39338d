"""What InsightFace's ijb_11.py and ijb_1n.py say of embeddings of a small generated set; see make.py.

Their statements are run as benchmarks/peers/insightface_ijb.py tells. NumPy has no `np.int` any more, which only their
readers use; those are not run.
"""

import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))
from generated_ijb import IJBSize, generate_ijb, generate_views

CHECKOUTS = {"insightface": "recognition/_evaluation_/ijb"}
SIZE, SEED, DIM = IJBSize(images=1500, gallery=40, probes=160, genuine=150, impostors=2850), 3, 32
OPTIONS = list(itertools.product([False, True], repeat=3))


def case():
    """The set and the embeddings `[images, 2, dim]` of its images."""
    ijb = generate_ijb(SIZE, SEED)
    return ijb, generate_views(ijb, DIM, SEED)


def make(insightface):
    from peers import insightface_ijb as peer

    ijb, views = case()
    faces, pairs = (ijb.templates, ijb.medias, ijb.scores), (ijb.pairs.first, ijb.pairs.second, ijb.pairs.same)
    gallery = [np.concatenate([getattr(half, name) for half in ijb.galleries]) for name in ("templates", "subjects")]
    probes = (ijb.probes.templates, ijb.probes.subjects)
    golden = {"views_sum": np.array(views.sum(dtype=np.float64))}
    for flags in OPTIONS:
        key, options = "F{:d}N{:d}D{:d}".format(*flags), dict(zip(peer.OPTIONS, flags))
        verified = peer.verification(insightface, options, views, faces, pairs)
        identified = peer.identification(insightface, options, views, faces, gallery, probes)
        golden[f"{key}/score"] = verified["score"].astype(np.float64 if all(flags) else np.float32)
        golden[f"{key}/tar"] = verified["tar"]
        golden[f"{key}/rank"], golden[f"{key}/tpir"] = identified["rank"], identified["tpir"]
    return golden
