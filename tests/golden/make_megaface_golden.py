"""Make megaface_golden.json: what FaceX-Zoo's and InsightFace's own scripts say of some features.

Run by hand, on checkouts of https://github.com/JDAI-CV/FaceX-Zoo and https://github.com/deepinsight/insightface:

    python tests/golden/make_megaface_golden.py --facex_zoo=PATH --insightface=PATH

FaceX-Zoo's `MegaFaceEvaluator` is "the same as the official implementation" by its docstring; it gives the shares of
pairs of rank 1, 2, ... InsightFace's `remove_noises.py` is run on feature files with noisy probes and distractors, and
what it writes is compared by the devkit's score, the negative squared Euclidean distance. Modules that they import and
do not use here (prettytable, cv2, mxnet) are replaced by empty ones.
"""

import argparse
import importlib.util
import json
import struct
import sys
import tempfile
import types
from pathlib import Path

import numpy as np
from sklearn.preprocessing import normalize

GOLDEN = Path(__file__).with_name("megaface_golden.json")
RANKS = (1, 2, 5, 10, 50)
NOISY_PROBES, NOISY_DISTRACTORS = (2, 15, 16), (0, 7, 150)


def case(seed, people, photos, distractors, noise, dim):
    """Probes [people * photos, dim], whom they show, and distractors [distractors, dim]."""
    random = np.random.RandomState(seed)
    who = np.repeat(np.arange(people), photos)
    probes = normalize(random.normal(size=[people, dim])[who] + noise * random.normal(size=[len(who), dim]))
    return probes.astype(np.float32), who, normalize(random.normal(size=[distractors, dim])).astype(np.float32)


def cases():
    """Name -> what `case` gives."""
    return {
        "easy": case(1, 8, 6, 500, 0.8, 64),
        "hard": case(2, 8, 6, 2000, 1.6, 32),
        "few": case(3, 3, 2, 60, 1.2, 16),
    }


def noisy_case():
    """What `case` gives, with noisy probes in other directions, and noisy distractors that are probes."""
    probes, who, distractors = case(4, 5, 6, 200, 3.0, 512)
    for probe in NOISY_PROBES:
        probes[probe] = distractors[probe + 20]
    for probe, distractor in enumerate(NOISY_DISTRACTORS):
        distractors[distractor] = probes[6 * probe]
    return probes, who, distractors


def probe_key(who, number):
    """Name a probe."""
    return f"P{who}/P{who}_{number}.png"


def distractor_key(number):
    """Name a distractor."""
    return f"00{number % 3}/{number}@N00/{number}_0.jpg"


def load(path, name):
    """Import a script by its path, without what it does not use here."""
    for stub in ("prettytable", "cv2", "mxnet"):
        sys.modules[stub] = types.ModuleType(stub)
    sys.modules["prettytable"].PrettyTable = sys.modules["mxnet"].ndarray = None
    spec = importlib.util.spec_from_file_location(name, path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def rank_rates(evaluator, folder, probes, who, distractors):
    """Share of pairs within each of RANKS, by FaceX-Zoo's script."""
    keys = [f"P{one}/{number}.jpg" for number, one in enumerate(who)], [f"{n}.jpg" for n in range(len(distractors))]
    lists = {"path": keys[0], "id": [str(one) for one in who]}, {"path": keys[1]}
    for name, listed, features in zip(("facescrub", "megaface"), lists, (probes, distractors)):
        (folder / f"{name}.json").write_text(json.dumps(listed))
        for key, feature in zip(listed["path"], features):
            path = folder / name / key.replace(".jpg", ".npy")
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, feature)
    files = [str(folder / name) for name in ("facescrub.json", "megaface.json", "facescrub", "megaface")]
    made = evaluator.CommonMegaFaceEvaluator(*files, False)
    return {str(rank): made.get_rankN_accuracy(rank) for rank in RANKS}


def cleaned(remove_noises, folder):
    """The features after InsightFace's script, and the ranks of the pairs of clean photos by the devkit's score."""
    probes, who, distractors = noisy_case()
    keys = {
        "facescrub": [probe_key(one, number) for number, one in enumerate(who)],
        "megaface": [distractor_key(number) for number in range(len(distractors))],
    }
    for name, features in (("facescrub", probes), ("megaface", distractors)):
        (folder / f"{name}_lst").write_text("\n".join(keys[name]))
        for key, feature in zip(keys[name], features):
            path = folder / "in" / name / f"{key}_a.bin"
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(struct.pack("4i", len(feature), 1, 4, 5) + feature.astype("<f4").tobytes())
    noises = [keys["facescrub"][one].split("/")[1] for one in NOISY_PROBES]
    (folder / "facescrub_noises.txt").write_text("# comment\n" + "\n".join(noises))
    (folder / "megaface_noises.txt").write_text("# comment\n" + "\n".join(distractor_key(n) for n in NOISY_DISTRACTORS))
    arguments = ["--algo=a", f"--feature-dir-input={folder / 'in'}", f"--feature-dir-out={folder / 'out'}"]
    arguments += [f"--{name}-lst={folder / name}_lst" for name in keys]
    arguments += [f"--{name}-noises={folder / name}_noises.txt" for name in keys]
    np.random.seed(0)
    remove_noises.main(remove_noises.parse_arguments(arguments))
    out = {
        name: np.stack([np.fromfile(folder / "out" / name / f"{key}_a.bin", "<f4")[4:] for key in keys[name]])
        for name in keys
    }
    probes, distractors = (out[name].astype(np.float64) for name in ("facescrub", "megaface"))
    clean = np.setdiff1d(np.arange(len(who)), NOISY_PROBES)
    ranks = []
    for probe in clean:
        to_distractors = -np.sum((probes[probe] - distractors) ** 2, axis=1)
        for mate in clean:
            if mate != probe and who[mate] == who[probe]:
                ranks.append(1 + int(np.sum(to_distractors > -np.sum((probes[probe] - probes[mate]) ** 2))))
    centers = [probes[one, :512].round(6).tolist() for one in NOISY_PROBES]
    return {"ranks_of_clean_pairs": ranks, "replaced_probes": centers}


def main():
    """Write the file."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--facex_zoo", type=Path, required=True)
    parser.add_argument("--insightface", type=Path, required=True)
    paths = parser.parse_args()
    evaluator = load(paths.facex_zoo / "test_protocol/megaface/megaface_evaluator.py", "megaface_evaluator")
    script = load(paths.insightface / "recognition/_evaluation_/megaface/remove_noises.py", "remove_noises")
    golden = {"rank_rates": {}}
    for name, made in cases().items():
        with tempfile.TemporaryDirectory() as folder:
            golden["rank_rates"][name] = rank_rates(evaluator, Path(folder), *made)
    with tempfile.TemporaryDirectory() as folder:
        golden["remove_noises"] = cleaned(script, Path(folder))
    GOLDEN.write_text(json.dumps(golden) + "\n")


if __name__ == "__main__":
    main()
