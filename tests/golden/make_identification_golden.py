"""Make identification_golden.json: what the field's own scripts say of some searches.

Run by hand, on a checkout of https://github.com/mk-minchul/AdaFace, and with `compute_AP.py`, the Python port of
TinyFace's official `compute_AP.m` (that file comes with the data set, https://qmul-tinyface.github.io), in a folder:

    python tests/golden/make_identification_golden.py --adaface=PATH --compute_ap=FOLDER

AdaFace's script uses names that NumPy 1.24 took away, `np.bool` and `np.object`; they are given back to it here.
"""

import argparse
import importlib
import json
import shutil
import sys
import tempfile
import zlib
from pathlib import Path

import numpy as np
from sklearn.preprocessing import normalize

from ddl_tf.miniatures.tinyface import write_tinyface

GOLDEN = Path(__file__).with_name("identification_golden.json")
ADAFACE_RANKS, OFFICIAL_RANKS = [1, 5, 20], [1, 5, 10, 20, 50]


def _search(seed, people, mates, probes, strangers, noise, dim=32):
    random = np.random.RandomState(seed)
    faces = random.normal(size=[people + strangers, dim])
    gallery_people = np.concatenate([np.repeat(np.arange(people), mates), np.full(strangers, -100)])
    shown = np.concatenate([np.repeat(np.arange(people), mates), np.arange(people, people + strangers)])
    probe_people = np.repeat(np.arange(people), probes)
    noisy = [faces[one] + noise * random.normal(size=[len(one), dim]) for one in (probe_people, shown)]
    # As a model gives them.
    probe, gallery = (normalize(one).astype(np.float32) for one in noisy)
    return probe, gallery, probe_people, gallery_people


def cases():
    """Name -> probes [probes, dim], gallery [gallery, dim], probe_people, gallery_people (-100: a distractor)."""
    return {
        "one mate": _search(1, people=60, mates=1, probes=3, strangers=0, noise=0.8),
        "several mates": _search(2, people=40, mates=4, probes=2, strangers=300, noise=0.9),
        "far": _search(3, people=30, mates=2, probes=5, strangers=500, noise=2.0),
        "chance": _search(4, people=25, mates=3, probes=2, strangers=200, noise=30.0),
        "easy": _search(5, people=50, mates=2, probes=1, strangers=100, noise=0.2),
    }


def embedding(stem, dim=24):
    """An embedding for an image of the miniature TinyFace, from its name: of its person and with noise."""
    person = np.random.RandomState(int(stem.split("_")[0]) + 1000 * ("face" in stem)).normal(size=dim)
    noise = np.random.RandomState(zlib.crc32(stem.encode())).normal(size=dim)
    return normalize([person + 1.3 * noise])[0].astype(np.float32)


def adaface_on_miniature(helper):
    """Run the whole of AdaFace's TinyFaceTest."""
    with tempfile.TemporaryDirectory() as folder:
        write_tinyface(Path(folder) / "tinyface")
        shutil.copytree(Path(folder) / "tinyface/Testing_Set", Path(folder) / "aligned")
        test = helper.TinyFaceTest(folder, "aligned")
        features = np.array([embedding(test.get_key(path)) for path in test.image_paths])
        return test.test_identification(features, ADAFACE_RANKS).tolist()


def official(compute_ap, probes, gallery, probe_people, gallery_people):
    """The loop of TinyFace's official script around `compute_AP`."""
    rates, precisions = [], []
    for probe, person in zip(probes, probe_people):
        distance = np.linalg.norm(gallery.astype(np.float64) - probe, axis=1)
        precision, curve = compute_ap(np.flatnonzero(gallery_people == person), np.argsort(distance))
        precisions.append(precision)
        rates.append(curve[[k - 1 for k in OFFICIAL_RANKS]])
    return {"map": float(np.mean(precisions)), "rates": np.mean(rates, axis=0).tolist()}


def main():
    """Write the golden file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--adaface", required=True, help="folder of the checkout")
    parser.add_argument("--compute_ap", required=True, help="folder with compute_AP.py")
    arguments = parser.parse_args()
    sys.path[:0] = [str(Path(arguments.adaface) / "validation_lq"), arguments.compute_ap]
    np.bool, np.object = bool, object
    helper = importlib.import_module("tinyface_helper")
    compute_ap = importlib.import_module("compute_AP").compute_AP
    golden = {"miniature tinyface": {"adaface": adaface_on_miniature(helper)}}
    for name, (probes, gallery, probe_people, gallery_people) in cases().items():
        score, mate = probes @ gallery.T, probe_people[:, np.newaxis] == gallery_people
        rates, _, _ = helper.DIR_FAR(score, mate, ADAFACE_RANKS)
        golden[name] = {
            "adaface": rates.tolist(),
            "official": official(compute_ap, probes, gallery, probe_people, gallery_people),
        }
    GOLDEN.write_text(json.dumps(golden, indent=1) + "\n")


if __name__ == "__main__":
    main()
