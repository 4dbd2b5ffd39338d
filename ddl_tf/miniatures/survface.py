"""A small QMUL-SurvFace of synthetic faces, in the official layout."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.miniatures import write_file
from ddl_tf.synthetic.faces import render

PEOPLE, STRANGERS, DISTRACTORS = 12, 20, 20
# Images of a person in the gallery and as mated probes; as in SurvFace, people have different numbers.
_GALLERY, _PROBES = (2, 3, 5), (3, 4)
# Pairs of each kind for each of ten folds.
_PAIRS = 3


def write_survface(folder: Path, seed: int = 0) -> None:
    """Write `QMUL-SurvFace` of synthetic faces of 12 to 40 pixels: 12 people in the gallery, 40 unmated probes.

    The images of the pairs are copies of probes, as in the release; 30 pairs show one person, 30 two.
    """
    root, random = folder / "QMUL-SurvFace", np.random.RandomState(seed)
    search, pairs = root / "Face_Identification_Test_Set", root / "Face_Verification_Test_Set"
    lists: dict[str, list[tuple[str, int]]] = {"gallery": [], "mated_probe": []}
    written: dict[str, bytes] = {}
    for person in range(1, PEOPLE + 1):
        # Their numbers among all people are others than in the lists of the search.
        counts = (_GALLERY[person % len(_GALLERY)], _PROBES[person % len(_PROBES)])
        number = 0
        for kind, count in zip(lists, counts):
            for _ in range(count):
                number += 1
                name = f"{100 + person}_cam{1 + number % 3}_{number}.jpg"
                written[name] = _face(person, number, seed, random)
                write_file(search / kind / name, written[name])
                lists[kind].append((name, person))
    for number in range(1, STRANGERS + 1):
        name = f"{200 + number // 2}_cam1_{number}.jpg"
        write_file(search / "unmated_probe" / name, _face(PEOPLE + 1 + number // 2, number, seed, random))
    for number in range(1, DISTRACTORS + 1):
        face = _face(2 * PEOPLE + number, 1, seed, random)
        write_file(search / "unmated_probe" / f"distractors_{number}.jpg", face)
    for kind, rows in lists.items():
        names = np.array([[name] for name, _ in rows], dtype=object)
        people = np.array([[person] for _, person in rows], np.uint16)
        savemat(str(search / f"{kind}_img_ID_pairs.mat"), {f"{kind}_set": names, f"{kind}_ids": people})
    _write_pairs(pairs, lists["mated_probe"], written, random)


def _write_pairs(
    folder: Path, probes: list[tuple[str, int]], written: dict[str, bytes], random: np.random.RandomState
) -> None:
    count = 10 * _PAIRS
    couples = [(a, b) for a, _ in probes for b, _ in probes if a < b]
    person = dict(probes)
    for name, same in (("positive_pairs_names", True), ("negative_pairs_names", False)):
        alike = [couple for couple in couples if (person[couple[0]] == person[couple[1]]) == same]
        chosen = [alike[place] for place in random.permutation(len(alike))[:count]]
        folder.mkdir(parents=True, exist_ok=True)
        savemat(str(folder / f"{name}.mat"), {name: np.array(chosen, dtype=object)})
        for image in sorted({image for couple in chosen for image in couple}):
            write_file(folder / "verification_images" / image, written[image])


def _face(identity: int, image: int, seed: int, random: np.random.RandomState) -> bytes:
    face, width = Image.fromarray(render(identity, image, seed, size=112)[0]), random.randint(12, 33)
    # Boxes of faces are higher than wide.
    return encode_jpeg(face.resize((width, width * 5 // 4), Image.Resampling.BOX), quality=85)
