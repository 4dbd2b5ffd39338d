"""A small TinyFace of synthetic faces, in the official layout."""

from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.miniatures import write_file
from ddl_tf.synthetic.faces import render

PEOPLE, DISTRACTORS = 12, 40
# Of a person, in the gallery and as probes: as in TinyFace, some have several.
_GALLERY, _PROBES = (1, 2, 3), (1, 2)


def write_tinyface(folder: Path, seed: int = 0) -> None:
    """Write `Testing_Set` of synthetic faces of 16 to 28 pixels, with lists in MATLAB's format.

    12 people have 24 images in the gallery and 18 probes, and there are 40 distractors.
    """
    root = folder / "Testing_Set"
    random = np.random.RandomState(seed)
    lists: dict[str, list[tuple[str, int]]] = {"gallery": [], "probe": []}
    for person in range(1, PEOPLE + 1):
        gallery, probes = (counts[person % len(counts)] for counts in (_GALLERY, _PROBES))
        for number in range(1, gallery + probes + 1):
            kind, place = ("gallery", "Gallery_Match") if number <= gallery else ("probe", "Probe")
            name = f"{person}_{number}.jpg"
            _write(root / place / name, person, number, seed, random)
            lists[kind].append((name, person))
    for number in range(1, DISTRACTORS + 1):
        name = f"{number}_1_ph_1_1_face1.jpg"
        _write(root / "Gallery_Distractor" / name, PEOPLE + number, 1, seed, random)
    for kind, file in (("gallery", "gallery_match_img_ID_pairs.mat"), ("probe", "probe_img_ID_pairs.mat")):
        names = np.array([[name] for name, _ in lists[kind]], dtype=object)
        people = np.array([[person] for _, person in lists[kind]], np.uint16)
        savemat(str(root / file), {f"{kind}_set": names, f"{kind}_ids": people})


def _write(path: Path, identity: int, image: int, seed: int, random: np.random.RandomState) -> None:
    face, size = Image.fromarray(render(identity, image, seed, size=112)[0]), random.randint(16, 29)
    write_file(path, encode_jpeg(face.resize((size, size), Image.Resampling.BOX), quality=85))
