"""Make ijb_golden.npz: what InsightFace's ijb_11.py and ijb_1n.py say of embeddings of a small generated set.

Run by hand, on a checkout of https://github.com/deepinsight/insightface:

    python tests/golden/make_ijb_golden.py --insightface=PATH

Their statements are run as benchmarks/peers/insightface_ijb.py tells. NumPy has no `np.int` any more, which only their
readers use; those are not run.
"""

import argparse
import itertools
import sys
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from arms.generated_ijb import IJBSize, generate_ijb, generate_views

GOLDEN = Path(__file__).with_name("ijb_golden.npz")
SIZE, SEED, DIM = IJBSize(images=1500, gallery=40, probes=160, genuine=150, impostors=2850), 3, 32
OPTIONS = list(itertools.product([False, True], repeat=3))


def case():
    """The set and the embeddings `[images, 2, dim]` of its images."""
    ijb = generate_ijb(SIZE, SEED)
    return ijb, generate_views(ijb, DIM, SEED)


def main():
    """Write the golden file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--insightface", required=True, help="folder of the checkout")
    folder = Path(parser.parse_args().insightface) / "recognition" / "_evaluation_" / "ijb"
    sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks" / "peers"))
    import insightface_ijb as peer

    ijb, views = case()
    faces = (ijb.templates, ijb.medias, ijb.scores)
    gallery = [np.concatenate([getattr(one, name) for one in ijb.galleries]) for name in ("templates", "subjects")]
    golden = {"views_sum": np.array(views.sum(dtype=np.float64))}
    for flip, norms, scores in OPTIONS:
        options = dict(zip(peer.OPTIONS, (flip, norms, scores)))
        key = f"F{flip:d}N{norms:d}D{scores:d}"
        pairs = (ijb.pairs.first, ijb.pairs.second, ijb.pairs.same)
        verified = peer.verification(folder, options, views, faces, pairs)
        probes = (ijb.probes.templates, ijb.probes.subjects)
        identified = peer.identification(folder, options, views, faces, gallery, probes)
        golden[f"{key}/score"] = verified["score"].astype(np.float32 if key != "F1N1D1" else np.float64)
        golden[f"{key}/tar"] = verified["tar"]
        golden[f"{key}/rank"], golden[f"{key}/tpir"] = identified["rank"], identified["tpir"]
        print(key, verified["tar"], identified["rank"], identified["tpir"])
    np.savez_compressed(GOLDEN, **golden)
    print(f"{GOLDEN}: {GOLDEN.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
