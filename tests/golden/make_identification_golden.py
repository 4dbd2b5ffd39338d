"""What the field's own scripts say of some searches; see make.py.

`--compute_ap` is a folder with `compute_AP.py`, the Python port of TinyFace's official `compute_AP.m`; that file comes
with the data set, https://qmul-tinyface.github.io. AdaFace's script uses names that NumPy 1.24 took away, `np.bool` and
`np.object`; they are given back to it here.
"""

import importlib
import shutil
import tempfile
import zlib
from pathlib import Path

import numpy as np
from sklearn.preprocessing import normalize

CHECKOUTS = {"adaface": "validation_lq", "compute_ap": ""}
ADAFACE_RANKS, OFFICIAL_RANKS = [1, 5, 20], [1, 5, 10, 20, 50]


def _search(seed, people, mates, probes, strangers, noise, dim=32):
    random = np.random.RandomState(seed)
    faces = random.normal(size=[people + strangers, dim])
    gallery_people = np.concatenate([np.repeat(np.arange(people), mates), np.full(strangers, -100)])
    shown = np.concatenate([np.repeat(np.arange(people), mates), np.arange(people, people + strangers)])
    probe_people = np.repeat(np.arange(people), probes)
    noisy = [faces[rows] + noise * random.normal(size=[len(rows), dim]) for rows in (probe_people, shown)]
    # As a model gives them.
    probe, gallery = (normalize(rows).astype(np.float32) for rows in noisy)
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


def _adaface_on_miniature(helper):
    """Run the whole of AdaFace's TinyFaceTest."""
    from ddl_tf.miniatures.tinyface import write_tinyface

    with tempfile.TemporaryDirectory() as folder:
        write_tinyface(Path(folder) / "tinyface")
        shutil.copytree(Path(folder) / "tinyface/Testing_Set", Path(folder) / "aligned")
        test = helper.TinyFaceTest(folder, "aligned")
        features = np.array([embedding(test.get_key(path)) for path in test.image_paths])
        return test.test_identification(features, ADAFACE_RANKS).tolist()


def _official(compute_ap, probes, gallery, probe_people, gallery_people):
    """The loop of TinyFace's official script around `compute_AP`."""
    rates, precisions = [], []
    for probe, person in zip(probes, probe_people):
        distance = np.linalg.norm(gallery.astype(np.float64) - probe, axis=1)
        precision, curve = compute_ap(np.flatnonzero(gallery_people == person), np.argsort(distance))
        precisions.append(precision)
        rates.append(curve[[k - 1 for k in OFFICIAL_RANKS]])
    return {"map": float(np.mean(precisions)), "rates": np.mean(rates, axis=0).tolist()}


def make(adaface, compute_ap):
    np.bool, np.object = bool, object
    helper, official = (importlib.import_module(name) for name in ("tinyface_helper", "compute_AP"))
    golden = {"miniature tinyface": {"adaface": _adaface_on_miniature(helper)}}
    for name, search in cases().items():
        probes, gallery, probe_people, gallery_people = search
        rates, _, _ = helper.DIR_FAR(probes @ gallery.T, probe_people[:, np.newaxis] == gallery_people, ADAFACE_RANKS)
        golden[name] = {"adaface": rates.tolist(), "official": _official(official.compute_AP, *search)}
    return golden
