"""Verification sets from their official lists and a folder of images: CALFW, CPLFW, AgeDB-30, XQLFW.

Each has 6,000 pairs in ten folds of 300 same and 300 different pairs, as LFW's View 2. The images are in `aligned_112`,
for crops of one's own, in the official folder, or beside the list. Without `check_images` no image need exist.
"""

from pathlib import Path
from typing import Any, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.text_list import quoted, whole_number
from ddl_tf.protocols.matlab_file import read_matlab
from ddl_tf.protocols.pair_collection import (
    ListedImage,
    PairCollection,
    add_lfw_lines,
    first_folder,
    named_image,
    read_lines,
)
from ddl_tf.protocols.pair_sets import PairSet

# The folder of a user's own crops, before the folders that come with the set.
ALIGNED = "aligned_112"
AGEDB_LIST = "04_FINAL_protocol_30_years.mat"
AGEDB_IMAGES = "03_Protocol_Images"
XQLFW_IMAGES = ("xqlfw_aligned_112", "lfw_original_imgs_min_qual0.85variant11")

_ADVICE = "complete the images, or get the list anew"


def read_calfw(root: str, check_images: bool = True) -> PairSet:
    """Read Cross-Age LFW, as `calfw`.

    `pairs_CALFW.txt` has two lines `name.jpg mark` for each pair; the mark is 0 for different people, else they are the
    same. The same pairs come first, then the different ones; fold k is the k-th tenth of both. The official images are
    in `aligned images` or `images`.

    References:
        http://whdeng.cn/CALFW; the folds: FaceX-Zoo, test_protocol/utils, CALFW_PairsParser
    """
    return _read_two_lines("calfw", Path(root), "pairs_CALFW.txt", check_images)


def read_cplfw(root: str, check_images: bool = True) -> PairSet:
    """Read Cross-Pose LFW (http://whdeng.cn/CPLFW), as `cplfw`: `pairs_CPLFW.txt`, of the form of `read_calfw`."""
    return _read_two_lines("cplfw", Path(root), "pairs_CPLFW.txt", check_images)


def _read_two_lines(name: str, root: Path, list_name: str, check_images: bool) -> PairSet:
    path = root / list_name
    lines = read_lines(path)
    collection = PairCollection(name, path, first_folder(root, (ALIGNED, "aligned images", "images")), check_images)
    read = [_marked_image(collection, line, f"{path}, line {number}") for number, line in enumerate(lines, 1)]
    if len(lines) % 2:
        collection.problems.add("malformed line", f"{path}, line {len(lines)}", "a pair has two lines, this has one")
    for number, (first, second) in enumerate(zip(read[::2], read[1::2])):
        if first is None or second is None:
            continue
        place = f"{path}, lines {2 * number + 1} and {2 * number + 2}"
        if first[1] != second[1]:
            reason = f"the two lines of a pair are marked {first[1]} and {second[1]}"
            collection.problems.add("malformed line", place, reason)
            continue
        collection.add(first[0], second[0], first[1] != 0, place)
    return collection.finish(_ADVICE, folds="classes")


def _marked_image(collection: PairCollection, line: str, place: str) -> Optional[tuple[ListedImage, int]]:
    parts = line.split()
    image, mark = (named_image(parts[0]), whole_number(parts[1])) if len(parts) == 2 else (None, None)
    if image is None or mark is None:
        collection.problems.add("malformed line", place, f"{quoted(line)} is not `name_0001.jpg mark`")
        return None
    return image, mark


def read_xqlfw(root: str, check_images: bool = True) -> PairSet:
    """Read Cross-Quality LFW (https://martlgap.github.io/xqlfw), as `xqlfw`: `xqlfw_pairs.txt`, of LFW's form."""
    path = Path(root) / "xqlfw_pairs.txt"
    lines = read_lines(path)
    header = lines[0].split() if lines else []
    numbers = [number for number in map(whole_number, header) if number is not None]
    if len(header) != 2 or len(numbers) != 2:
        raise InputError(f"{path}, line 1: {quoted(' '.join(header))} is not `folds pairs`; is it the list of XQLFW?")
    collection = PairCollection("xqlfw", path, first_folder(Path(root), (ALIGNED, *XQLFW_IMAGES)), check_images)
    folds, pairs = numbers
    if len(lines) - 1 != 2 * folds * pairs:
        reason = f"{len(lines) - 1:,} pairs, where the first line says {folds} x 2 x {pairs}"
        collection.problems.add("wrong count", path, reason)
    add_lfw_lines(collection, path, lines[1:], first_line=2)
    return collection.finish(_ADVICE, folds="blocks")


def read_agedb(root: str, check_images: bool = True) -> PairSet:
    """Read AgeDB-30: pairs of AgeDB whose ages differ by 30 years; as `agedb_30`, with the column `age`, in years.

    The official list is a MATLAB file: `splits`, a cell for each of ten folds, holds a structure of two: a 2 x 600 cell
    of the images (structures of name and age) and 600 marks, 1 for the same person and -1 for different ones. The name
    of an image begins with its person, up to the first `_`.

    References:
        How InsightFace read it: https://github.com/deepinsight/insightface, src/data/agedb2pack.py (2018)
    """
    path = Path(root) / AGEDB_LIST
    collection = PairCollection("agedb_30", path, first_folder(Path(root), (ALIGNED, AGEDB_IMAGES)), check_images)
    if not path.is_file():
        raise InputError(f"{path.parent}: there is no {path.name} in it; give the folder that holds the official list")
    splits = [split for row in read_matlab(path, ["splits"])["splits"] for split in row]
    for fold, split in enumerate(splits):
        place = f"{path}, split {fold + 1}"
        try:
            (first, second), marks = _structure(split)
            marks = np.ravel(marks)
            columns = list(zip(first, second, marks))
            if not len(first) == len(second) == len(marks):
                raise ValueError(f"{len(first)} and {len(second)} images with {len(marks)} marks")
        except (TypeError, ValueError, IndexError) as error:
            reason = f"not a structure of 2 x n images and n marks ({error})"
            collection.problems.add("malformed line", place, reason)
            continue
        for number, (*cells, mark) in enumerate(columns, 1):
            try:
                if mark not in (1, -1, 0):
                    raise ValueError(f"marked {mark}")
                first_image, second_image = map(_aged_image, cells)
            except (TypeError, ValueError, IndexError) as error:
                reason = f"not two images of name and age, marked 1 or -1 ({error})"
                collection.problems.add("malformed line", f"{place}, pair {number}", reason)
                continue
            collection.add(first_image, second_image, bool(mark == 1), f"{place}, pair {number}", fold)
    return collection.finish(_ADVICE, folds="given")


def _unwrap(value: Any) -> Any:
    """Take a value out of the matrices of one element that MATLAB puts everything in."""
    while isinstance(value, list) and len(value) == 1:
        value = value[0]
    return value


def _structure(value: Any) -> tuple[Any, Any]:
    """Take the two values of a structure, whatever their names."""
    structure = _unwrap(value)
    if not isinstance(structure, dict) or len(structure) != 2:
        raise TypeError("no structure of two")
    first, second = structure.values()
    return first, second


def _aged_image(cell: Any) -> ListedImage:
    name, age = map(_unwrap, _structure(cell))
    image = named_image(f"{name}.jpg")
    if not isinstance(name, str) or image is None:
        raise ValueError(f"named {name!r}")
    return ListedImage(name, name.partition("_")[0], float(age))
