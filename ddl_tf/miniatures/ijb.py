"""A small generated IJB-B or IJB-C in the layout of InsightFace: synthetic faces in loose crops."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.images.template import ARCFACE_TEMPLATE, TEMPLATE_SIZE
from ddl_tf.miniatures import write_file, write_lines
from ddl_tf.protocols.ijb import GALLERIES
from ddl_tf.synthetic.shots import render

SUBJECTS, CROP = 40, (140, 160)
# Frames of each media of a template: of the gallery, and of both probes of a subject. A media of one is a still image.
_GALLERY, _PROBES = (1, 1, 3), ((1,), (3, 1))
_HEADER = "TEMPLATE_ID,SUBJECT_ID,FILENAME"


def write_ijb(folder: Path, seed: int = 0, name: str = "ijbc") -> None:
    """Write a small copy of "ijbb" or "ijbc": 40 subjects, half of them in either gallery, with two probes each.

    Faces are turned and lie at another place in each crop, as detected ones do.
    """
    if name not in GALLERIES:
        raise InputError(f"{name!r}: is no set of IJB; use one of {', '.join(GALLERIES)}")
    rng = np.random.default_rng([seed, 0])
    meta, faces, points = folder / "meta", list[str](), list[str]()
    lists: dict[str, list[str]] = {gallery: [] for gallery in (*GALLERIES[name], "probes")}
    subjects: dict[str, list[tuple[int, int]]] = {"gallery": [], "probes": []}
    media = 0
    for template, subject, place, medias in _templates(name):
        for frames in medias:
            media += 1
            for _ in range(frames):
                image = f"{len(faces) + 1}.jpg"
                crop, landmarks = _loose_crop(subject, len(faces), seed, rng)
                write_file(folder / "loose_crop" / image, crop)
                faces.append(f"{image} {template} {media}")
                numbers = " ".join(f"{number:.3f}" for number in landmarks.ravel())
                points.append(f"{image} {numbers} {rng.uniform(0.6, 1):.3f}")
                lists[place].append(f"{template},{subject},img/{image}")
        subjects["probes" if place == "probes" else "gallery"].append((template, subject))
    pairs = [
        f"{first} {second} {int(subject == mate)}"
        for first, subject in subjects["gallery"]
        for second, mate in subjects["probes"]
    ]
    for ending, lines in (("face_tid_mid", faces), ("name_5pts_score", points), ("template_pair_label", pairs)):
        write_lines(meta / f"{name}_{ending}.txt", lines)
    for place, lines in lists.items():
        ending = "probe_mixed" if place == "probes" else f"gallery_{place}"
        write_lines(meta / f"{name}_1N_{ending}.csv", [_HEADER, *lines])


def _templates(name: str) -> Iterator[tuple[int, int, str, tuple[int, ...]]]:
    """Number, subject, list and medias of each template: first both galleries, then the probes."""
    for subject in range(1, SUBJECTS + 1):
        yield subject, subject, GALLERIES[name][subject > SUBJECTS // 2], _GALLERY
    for number in range(len(_PROBES) * SUBJECTS):
        yield SUBJECTS + 1 + number, number // len(_PROBES) + 1, "probes", _PROBES[number % len(_PROBES)]


def _loose_crop(subject: int, image: int, seed: int, rng: np.random.Generator) -> tuple[bytes, np.ndarray]:
    """A face, turned, scaled and moved; alignment brings it back to what was drawn."""
    face, _ = render(subject, image, seed, TEMPLATE_SIZE, hard=bool(rng.random() < 0.25))
    angle, scale = rng.uniform(-0.4, 0.4), rng.uniform(0.85, 1.15)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    centre = np.array([TEMPLATE_SIZE - 1, TEMPLATE_SIZE - 1]) / 2
    move = (np.array(CROP) - 1) / 2 + rng.uniform(-8, 8, 2) - turn @ centre
    inverse = np.linalg.inv(turn)
    # Pillow counts from the corner of a pixel, landmarks from its centre.
    offset = 0.5 - inverse @ (move + 0.5)
    matrix = np.column_stack([inverse, offset]).ravel().tolist()
    crop = Image.fromarray(face).transform(CROP, Image.Transform.AFFINE, matrix, Image.Resampling.BICUBIC)
    return encode_jpeg(crop), ARCFACE_TEMPLATE @ turn.T + move
