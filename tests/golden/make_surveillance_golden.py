"""What the public scripts of QMUL-SurvFace and IJB-S say of embeddings of the miniatures; see make.py.

Of each script the functions that compute are taken out of its file and run here. AdaFace's uses names that NumPy 1.24
took away, `np.bool` and `np.object`; feature-similarity-KD (gist-ailab/feature-similarity-KD) sorts equal rates as
NumPy's unstable sort leaves them, on each processor otherwise: both get them from a stand-in for NumPy, which sorts
stably. They print rounded numbers; what they print is read.
"""

import ast
import contextlib
import io
import os
import pickle
import re
import shutil
import tempfile
import types
import zlib
from pathlib import Path
from unittest import mock

import numpy as np
from PIL import Image
from scipy.io import loadmat
from sklearn import metrics

CHECKOUTS = {"adaface": "validation_lq/PFE", "feature_similarity_kd": "face_recognition"}
DIM = 24
TPIR = re.compile(r"TPIR20@FPIR=0\.3/0\.2/0\.1: (\S+) / (\S+) / (\S+)\nAUC: (\S+)")


class _OldNumPy:
    bool, object, int = bool, object, int

    def __getattr__(self, name):
        return getattr(np, name)

    @staticmethod
    def argsort(values, axis=-1):
        return np.argsort(values, axis, kind="stable")


def _functions(path, **names):
    """The functions and classes of a script, as a namespace, with the modules that they use."""
    nodes = [node for node in ast.parse(path.read_text()).body if isinstance(node, (ast.FunctionDef, ast.ClassDef))]
    scope = {"np": _OldNumPy(), "os": os, "tqdm": lambda values: values, **names}
    exec(compile(ast.Module(nodes, []), str(path), "exec"), scope)
    return types.SimpleNamespace(**scope), scope


def _random(text):
    return np.random.RandomState(zlib.crc32(text.encode()))


def embedding(key, noise=0.9):
    """An embedding `[dim]` of an image of a miniature, from its name, as long as it is clear: its person, and noise."""
    name = Path(key).stem
    # In IJB-S the folder is the person.
    person = Path(key).parent.name if name.startswith(("videos_", "img_")) else re.split("_cam", name)[0]
    clear = _random(name).uniform(0.3, 1)
    return 20 * clear * _random(f"person {person}").normal(size=DIM) + 20 * noise * _random(name).normal(size=DIM)


def write_sets(folder):
    """Write larger miniatures of both sets, of pictures that nobody looks at."""
    from ddl_tf.miniatures import ijbs, survface

    grey = Image.new("RGB", (8, 8))
    with mock.patch.multiple(ijbs, SUBJECTS=60, _face=lambda *_: grey, _from_afar=lambda face, _: face):
        ijbs.write_ijbs(folder)
    sizes = {"PEOPLE": 40, "STRANGERS": 150, "DISTRACTORS": 150, "_PAIRS": 15}
    with mock.patch.multiple(survface, **sizes, _face=lambda *_: b"\xff\xd8\xff"):
        survface.write_survface(folder)


def _ijbs(script, utils, root):
    """AdaFace's IJBSTest, its evaluate_helper with `pre_norm_vector_add_cos`, and `mean_cos` of unit embeddings."""
    results = {}
    protocols = shutil.copytree(root / "protocols", root / "cs6")
    for path in protocols.rglob("*.csv"):
        path.rename(path.with_name(path.name.replace("ijbs_", "cs6_")))
    paths = sorted(map(str, (root / "aligned_112").rglob("*.jpg")))
    for pooling in ("norm-weighted mean", "mean"):
        test = script.IJBSTest()
        test.init_proto(str(protocols))
        test.initialize_indices(paths)
        test.compare_func = utils.inner_product
        features = np.array([embedding(path) for path in paths])
        if pooling == "mean":
            features /= np.linalg.norm(features, axis=1, keepdims=True)
        for template in test.all_template_list:
            template.feature = utils.average_fuse(features[template.indices])
        for name in ("surveillance_to_single", "surveillance_to_booking", "surveillance_to_surveillance"):
            results[f"{pooling} {name}"] = [part.tolist() for part in getattr(test, name)()]
        for ours, theirs in (("multiview", "multiview_surveillance"), ("uav", "uav_surveillance")):
            closed_and_open = getattr(test, f"{theirs}_to_booking")()
            results[f"{pooling} {ours}_to_booking"] = [part.tolist() for part in closed_and_open]
    return results


def _unit(rows):
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def _search(script, folder):
    """The function `identification` of test_qmul_id.py."""
    sides = []
    for part in ("gallery", "mated_probe", "unmated_probe"):
        names = np.array(sorted(path.name for path in (folder / part).glob("*.jpg")))
        sides.append([np.array([embedding(name) for name in names]), names])
    gallery, mated = (loadmat(str(folder / f"{kind}_img_ID_pairs.mat")) for kind in ("gallery", "mated_probe"))
    lists = [gallery["gallery_ids"], gallery["gallery_set"]], [mated["mated_probe_ids"], mated["mated_probe_set"]]
    printed = io.StringIO()
    with contextlib.redirect_stdout(printed):
        script.identification(*sides, *lists, save_dir="", prefix="")
    return [float(number) for number in TPIR.search(printed.getvalue()).groups()]


def _verification(script, scope, folder):
    """The function `verification` of test_qmul_ver.py: TAR at FAR 1e-3, 1e-2, 0.1 and 0.3, in percent."""
    names = np.array(sorted(path.name for path in (folder / "verification_images").glob("*.jpg")))
    pairs = [
        loadmat(str(folder / f"{kind}_pairs_names.mat"))[f"{kind}_pairs_names"] for kind in ("positive", "negative")
    ]
    with tempfile.TemporaryDirectory() as out, contextlib.redirect_stdout(io.StringIO()):
        scope["args"] = types.SimpleNamespace(save_dir=out, prefix="result")
        script.verification(np.array([embedding(name) for name in names]), names, *pairs, save_dir=out, prefix="result")
        row = pickle.loads((Path(out) / "result.pkl").read_bytes())
    return [float(number) for number in row[1:]]


def make(adaface, feature_similarity_kd):
    used = {"roc_curve": metrics.roc_curve, "auc": metrics.auc, "pickle": pickle, "multiprocessing": None}
    ijbs, _ = _functions(adaface / "ijbs.py", **used)
    utils, _ = _functions(adaface / "utils.py")
    search, _ = _functions(feature_similarity_kd / "test_qmul_id.py", Dataset=object, **used)
    verification, scope = _functions(feature_similarity_kd / "test_qmul_ver.py", Dataset=object, **used)
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        write_sets(root)
        survface = root / "QMUL-SurvFace"
        return {
            "ijbs": _ijbs(ijbs, utils, root / "IJBS"),
            "search": _search(search, survface / "Face_Identification_Test_Set"),
            "verification": _verification(verification, scope, survface / "Face_Verification_Test_Set"),
        }
