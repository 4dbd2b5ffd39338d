"""Miniatures of the sets of pairs: ten folds of two same and two different pairs, of two identities of its own each."""

import functools
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from PIL import Image
from scipy.io import savemat

from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.miniatures import write_file, write_lines
from ddl_tf.protocols.pair_lists import AGEDB_IMAGES, AGEDB_LIST, XQLFW_IMAGES
from ddl_tf.protocols.pair_sets import NUM_FOLDS
from ddl_tf.protocols.rfw import RACES
from ddl_tf.synthetic.shots import render

# Of each class, in a fold.
_PAIRS = 2
_IDENTITIES = 2 * NUM_FOLDS


class _Face(NamedTuple):
    """An image of the population that all miniatures share; the first two of an identity are easy, the next hard."""

    identity: int
    image: int

    @property
    def person(self) -> str:
        return f"Synthetic_Person{self.identity:03d}"


class _Pair(NamedTuple):
    first: _Face
    second: _Face

    @property
    def same(self) -> bool:
        return self.first.identity == self.second.identity


@functools.lru_cache(maxsize=1000)
def _draw(face: _Face, seed: int) -> bytes:
    return encode_jpeg(Image.fromarray(render(*face, seed, 112, hard=face.image >= 2)[0]), 90)


def _folds(first_identity: int = 0, second_image: int = 1) -> list[list[_Pair]]:
    """The pairs of each fold, the same ones first."""
    made = []
    for identity in range(first_identity, first_identity + _IDENTITIES, 2):
        first = [_Face(identity, 0), _Face(identity, second_image)]
        second = [_Face(identity + 1, 0), _Face(identity + 1, second_image)]
        made.append([_Pair(*first), _Pair(*second), _Pair(first[0], second[1]), _Pair(second[0], first[1])])
    return made


def _faces(folds: Sequence[Sequence[_Pair]]) -> list[_Face]:
    return sorted({face for fold in folds for pair in fold for face in pair})


def _write_lfw_like(list_file: Path, images: Path, folds: list[list[_Pair]], header: bool, seed: int) -> None:
    lines = [f"{NUM_FOLDS}\t{_PAIRS}"] if header else []
    for pair in (pair for fold in folds for pair in fold):
        (name, number), (other, second) = ((face.person, face.image + 1) for face in pair)
        lines.append(f"{name}\t{number}\t{second}" if pair.same else f"{name}\t{number}\t{other}\t{second}")
    write_lines(list_file, lines)
    for face in _faces(folds):
        write_file(images / face.person / f"{face.person}_{face.image + 1:04d}.jpg", _draw(face, seed))


def write_lfw(folder: Path, seed: int = 0) -> None:
    """Write a miniature of LFW: `lfw/<name>/<name>_0001.jpg` and `pairs.txt`."""
    _write_lfw_like(folder / "pairs.txt", folder / "lfw", _folds(), True, seed)


def write_xqlfw(folder: Path, seed: int = 0) -> None:
    """Write a miniature of XQLFW: `xqlfw_pairs.txt` and `xqlfw_aligned_112`; the second image of a pair is hard."""
    _write_lfw_like(folder / "xqlfw_pairs.txt", folder / XQLFW_IMAGES[0], _folds(second_image=2), True, seed)


def write_rfw(folder: Path, seed: int = 0) -> None:
    """Write a miniature of RFW: `test/txts/<Race>/<Race>_pairs.txt` and `test/data/<Race>`.

    The faces of the four races are drawn alike: they show the layout, and no race.
    """
    for number, race in enumerate(RACES):
        test, folds = folder / "test", _folds(number * _IDENTITIES)
        _write_lfw_like(test / "txts" / race / f"{race}_pairs.txt", test / "data" / race, folds, False, seed)


def write_calfw(folder: Path, seed: int = 0) -> None:
    """Write a miniature of CALFW: `pairs_CALFW.txt` and `aligned images/<name>_0001.jpg`."""
    # The official mark of a same pair is its fold, from 1.
    _write_two_lines(folder, "pairs_CALFW.txt", 4, list(range(1, NUM_FOLDS + 1)), seed)


def write_cplfw(folder: Path, seed: int = 0) -> None:
    """Write a miniature of CPLFW: `pairs_CPLFW.txt` and `aligned images/<name>_1.jpg`."""
    _write_two_lines(folder, "pairs_CPLFW.txt", 1, [1] * NUM_FOLDS, seed)


def _write_two_lines(folder: Path, list_name: str, digits: int, marks: Sequence[int], seed: int) -> None:
    def name(face: _Face) -> str:
        return f"{face.person}_{face.image + 1:0{digits}d}.jpg"

    folds, lines = _folds(), []
    for same in (True, False):
        for fold, mark in zip(folds, marks):
            for pair in (pair for pair in fold if pair.same == same):
                lines += [f"{name(face)} {mark if same else 0}" for face in pair]
    write_lines(folder / list_name, lines)
    for face in _faces(folds):
        write_file(folder / "aligned images" / name(face), _draw(face, seed))


def write_agedb(folder: Path, seed: int = 0) -> None:
    """Write a miniature of AgeDB-30: `04_FINAL_protocol_30_years.mat` and `03_Protocol_Images`."""

    def age(face: _Face) -> int:
        return 25 + face.identity + 30 * face.image

    def name(face: _Face) -> str:
        return f"SyntheticPerson{face.identity:03d}_30_{face.image}_{age(face)}_f"

    folds = _folds()
    splits = np.empty([NUM_FOLDS, 1], object)
    for number, fold in enumerate(folds):
        images = np.empty([2, len(fold)], object)
        for column, pair in enumerate(fold):
            for row, face in enumerate(pair):
                images[row, column] = _matlab_structure(name=name(face), age=age(face))
        labels = np.array([[1 if pair.same else -1 for pair in fold]])
        splits[number, 0] = _matlab_structure(pairs=images, labels=labels)
    folder.mkdir(parents=True, exist_ok=True)
    savemat(str(folder / AGEDB_LIST), {"splits": splits})
    for face in _faces(folds):
        write_file(folder / AGEDB_IMAGES / f"{name(face)}.jpg", _draw(face, seed))


def _matlab_structure(**fields: Any) -> np.ndarray:
    structure = np.empty([1, 1], [(name, object) for name in fields])
    for name, value in fields.items():
        structure[name][0, 0] = value
    return structure


def write_cfp(folder: Path, seed: int = 0) -> None:
    """Write a miniature of CFP: `Protocol/Pair_list_F.txt`, `Protocol/Split/FF/01/same.txt`, ... and `Data/Images`.

    The profile images are the hard ones.
    """
    # By the number of the image of a face: two frontal ones, and two of the profile.
    views = [("F", "frontal", 1), ("F", "frontal", 2), ("P", "profile", 1), ("P", "profile", 2)]
    lists: dict[str, list[str]] = {"F": [], "P": []}
    numbers: dict[_Face, int] = {}
    for identity in range(_IDENTITIES):
        for image, (letter, view, number) in enumerate(views):
            face, path = _Face(identity, image), f"Data/Images/{identity + 1:03d}/{view}/{number:02d}.jpg"
            numbers[face] = len(lists[letter]) + 1
            lists[letter].append(f"{numbers[face]} ../{path}")
            write_file(folder / path, _draw(face, seed))
    for letter, lines in lists.items():
        write_lines(folder / "Protocol" / f"Pair_list_{letter}.txt", lines)
    for protocol, second_image in (("FF", 1), ("FP", 2)):
        for number, fold in enumerate(_folds(second_image=second_image), 1):
            split = folder / "Protocol" / "Split" / protocol / f"{number:02d}"
            for name, same in (("same", True), ("diff", False)):
                pairs = [pair for pair in fold if pair.same == same]
                write_lines(split / f"{name}.txt", [f"{numbers[first]},{numbers[second]}" for first, second in pairs])


def write_bin(folder: Path, seed: int = 0, name: str = "lfw.bin", first_identity: int = 0) -> None:
    """Write a miniature of InsightFace's `lfw.bin`: the pairs of `write_lfw`."""
    pairs = [pair for fold in _folds(first_identity) for pair in fold]
    images = [_draw(face, seed) for pair in pairs for face in pair]
    write_file(folder / name, pickle.dumps((images, [pair.same for pair in pairs]), protocol=2))
