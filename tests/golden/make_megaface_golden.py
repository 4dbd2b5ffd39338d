"""What FaceX-Zoo's and InsightFace's own scripts say of some features; see make.py.

FaceX-Zoo's `MegaFaceEvaluator` is "the same as the official implementation" by its docstring; it gives the shares of
pairs of rank 1, 2, ... InsightFace's `remove_noises.py` is run on feature files with noisy probes and distractors, and
what it writes is compared by the devkit's score, the negative squared Euclidean distance.
"""

import importlib
import json
import struct
import tempfile
from pathlib import Path

import numpy as np
from sklearn.preprocessing import normalize

CHECKOUTS = {"facex_zoo": "test_protocol/megaface", "insightface": "recognition/_evaluation_/megaface"}
STUBS = ("prettytable", "cv2", "mxnet")
RANKS = (1, 2, 5, 10, 50)
NOISY_PROBES, NOISY_DISTRACTORS = (2, 15, 16), (0, 7, 150)


def _case(seed, people, photos, distractors, noise, dim):
    """Probes [people * photos, dim], whom they show, and distractors [distractors, dim]."""
    random = np.random.RandomState(seed)
    who = np.repeat(np.arange(people), photos)
    probes = normalize(random.normal(size=[people, dim])[who] + noise * random.normal(size=[len(who), dim]))
    return probes.astype(np.float32), who, normalize(random.normal(size=[distractors, dim])).astype(np.float32)


def cases():
    """Name -> what `_case` gives."""
    sizes = {"easy": (1, 8, 6, 500, 0.8, 64), "hard": (2, 8, 6, 2000, 1.6, 32), "few": (3, 3, 2, 60, 1.2, 16)}
    return {name: _case(*size) for name, size in sizes.items()}


def noisy_case():
    """What `_case` gives, with noisy probes in other directions, and noisy distractors that are probes."""
    probes, who, distractors = _case(4, 5, 6, 200, 3.0, 512)
    for probe in NOISY_PROBES:
        probes[probe] = distractors[probe + 20]
    for probe, distractor in enumerate(NOISY_DISTRACTORS):
        distractors[distractor] = probes[6 * probe]
    return probes, who, distractors


def _write(path, write):
    path.parent.mkdir(parents=True, exist_ok=True)
    write(path)


def _rank_rates(evaluator, folder, probes, who, distractors):
    """Share of pairs within each of RANKS, by FaceX-Zoo's script."""
    paths = [f"P{person}/{n}.jpg" for n, person in enumerate(who)], [f"{n}.jpg" for n in range(len(distractors))]
    lists = {"path": paths[0], "id": [str(person) for person in who]}, {"path": paths[1]}
    for name, listed, features in zip(("facescrub", "megaface"), lists, (probes, distractors)):
        (folder / f"{name}.json").write_text(json.dumps(listed))
        for key, feature in zip(listed["path"], features):
            _write(folder / name / key.replace(".jpg", ".npy"), lambda path, feature=feature: np.save(path, feature))
    files = [str(folder / name) for name in ("facescrub.json", "megaface.json", "facescrub", "megaface")]
    made = evaluator.CommonMegaFaceEvaluator(*files, False)
    return {str(rank): made.get_rankN_accuracy(rank) for rank in RANKS}


def _cleaned(remove_noises, folder):
    """The features after InsightFace's script, and the ranks of the pairs of clean photos by the devkit's score."""
    probes, who, distractors = noisy_case()
    keys = {
        "facescrub": [f"P{person}/P{person}_{number}.png" for number, person in enumerate(who)],
        "megaface": [f"00{number % 3}/{number}@N00/{number}_0.jpg" for number in range(len(distractors))],
    }
    noises = {
        "facescrub": ["# comment", *(keys["facescrub"][probe].split("/")[1] for probe in NOISY_PROBES)],
        "megaface": ["# comment", *(keys["megaface"][distractor] for distractor in NOISY_DISTRACTORS)],
    }
    arguments = ["--algo=a", f"--feature-dir-input={folder / 'in'}", f"--feature-dir-out={folder / 'out'}"]
    for name, features in (("facescrub", probes), ("megaface", distractors)):
        for kind, lines in (("lst", keys[name]), ("noises.txt", noises[name])):
            (folder / f"{name}_{kind}").write_text("\n".join(lines))
            arguments.append(f"--{name}-{kind.removesuffix('.txt')}={folder / name}_{kind}")
        for key, feature in zip(keys[name], features):
            content = struct.pack("4i", len(feature), 1, 4, 5) + feature.astype("<f4").tobytes()
            _write(folder / "in" / name / f"{key}_a.bin", lambda path, content=content: path.write_bytes(content))
    np.random.seed(0)
    remove_noises.main(remove_noises.parse_arguments(arguments))
    probes, distractors = (
        np.stack([np.fromfile(folder / "out" / name / f"{key}_a.bin", "<f4")[4:] for key in keys[name]]).astype(float)
        for name in ("facescrub", "megaface")
    )
    ranks = []
    clean = np.setdiff1d(np.arange(len(who)), NOISY_PROBES)
    for probe in clean:
        to_distractors = -np.sum((probes[probe] - distractors) ** 2, axis=1)
        for mate in clean:
            if mate != probe and who[mate] == who[probe]:
                ranks.append(1 + int(np.sum(to_distractors > -np.sum((probes[probe] - probes[mate]) ** 2))))
    centers = [probes[probe, :512].round(6).tolist() for probe in NOISY_PROBES]
    return {"ranks_of_clean_pairs": ranks, "replaced_probes": centers}


def make(facex_zoo, insightface):
    evaluator, script = (importlib.import_module(name) for name in ("megaface_evaluator", "remove_noises"))
    golden = {"rank_rates": {}}
    for name, made in cases().items():
        with tempfile.TemporaryDirectory() as folder:
            golden["rank_rates"][name] = _rank_rates(evaluator, Path(folder), *made)
    with tempfile.TemporaryDirectory() as folder:
        golden["remove_noises"] = _cleaned(script, Path(folder))
    return golden
