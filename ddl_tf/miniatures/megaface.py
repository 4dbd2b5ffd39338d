"""A small generated copy of MegaFace's layout, with synthetic faces and features of their pixels."""

import io
import json
from pathlib import Path

import numpy as np
from PIL import Image

from ddl_tf.miniatures import write_file, write_lines
from ddl_tf.protocols.feature_files import write_feature
from ddl_tf.synthetic.faces import render

PEOPLE, PHOTOS, DISTRACTORS = 6, 5, 60
SUFFIX = "_pixels.bin"
# Probes that show somebody else, (person, photo), and distractors that show a probe's person.
_WRONG_PROBES = ((0, 4), (3, 2))
_WRONG_DISTRACTORS = {7: 1, 40: 5}


def pixel_feature(image: bytes, side: int = 8) -> np.ndarray:
    """Make a feature without a model: the grey pixels of a shrunk face, less their mean, of unit norm."""
    small = Image.open(io.BytesIO(image)).convert("L").resize((side, side), Image.Resampling.BOX)
    pixels = np.asarray(small, np.float64).ravel()
    pixels = pixels - pixels.mean()
    return (pixels / np.linalg.norm(pixels)).astype(np.float32)


def _encode(identity: int, image: int, seed: int, kind: str) -> bytes:
    encoded = io.BytesIO()
    Image.fromarray(render(identity, image, seed, 112, image % 2 == 1)[0]).save(encoded, kind)
    return encoded.getvalue()


def write_megaface(folder: Path, seed: int = 0) -> None:
    """Write lists, noise lists, images and feature files (`_pixels.bin`) of 6 people x 5 photos, and of 60 distractors.

    Two probes and two distractors are noisy, and the lists of noises name them; that of FaceScrub also names photos
    that are not among the probes, as the real one does.
    """
    # Identities: the people of the probes, the wrong face of each noisy probe, then the distractors.
    strangers = {wrong: PEOPLE + number for number, wrong in enumerate(_WRONG_PROBES)}
    images: dict[str, dict[str, bytes]] = {"facescrub": {}, "megaface": {}}
    for person in range(PEOPLE):
        for photo in range(PHOTOS):
            key = f"Person_{person}/Person_{person}_{100 * person + photo}.png"
            images["facescrub"][key] = _encode(strangers.get((person, photo), person), photo, seed, "PNG")
    for number in range(DISTRACTORS):
        key = f"{number % 4:03d}/{1000 + number // 3}@N00/{5000 + number}_{number % 3}.jpg"
        identity = _WRONG_DISTRACTORS.get(number, PEOPLE + len(strangers) + number)
        images["megaface"][key] = _encode(identity, PHOTOS + number % 2, seed, "JPEG")
    keys = {name: list(faces) for name, faces in images.items()}
    for name, faces in images.items():
        for key, image in faces.items():
            write_file(folder / f"{name}_images" / key, image)
            write_feature(folder / "features" / name / f"{key}{SUFFIX}", pixel_feature(image))
        write_lines(folder / f"{name}_lst", faces)
    noisy_probes = [keys["facescrub"][person * PHOTOS + photo].split("/")[1] for person, photo in _WRONG_PROBES]
    noises = {
        "facescrub": [*noisy_probes, "Person_9_901.png", "Person_9_902.png"],
        "megaface": [keys["megaface"][number] for number in _WRONG_DISTRACTORS],
    }
    for name, lines in noises.items():
        write_lines(folder / f"{name}_noises.txt", ["# a comment", *lines])
    people = [key.split("/")[0] for key in keys["facescrub"]]
    # As the devkit's, the short list is a draw of its own.
    for name, content in (
        ("facescrub_features_list.json", {"id": people, "path": keys["facescrub"]}),
        ("megaface_features_list.json_10_1", {"path": keys["megaface"][::6]}),
        (f"megaface_features_list.json_{DISTRACTORS}_1", {"path": keys["megaface"]}),
    ):
        write_file(folder / "templatelists" / name, json.dumps(content, indent=4).encode())
