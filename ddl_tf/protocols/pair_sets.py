"""Verification sets: pairs of faces of which it is known whether they show one person."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Optional, Union

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.data.layout import INDEX_COLUMNS, PAIRS, read_table
from ddl_tf.importers.cfp import CFP, identity_and_view
from ddl_tf.importers.image_files import find_image, image_files
from ddl_tf.importers.lfw_line import malformed, parse_lfw_line
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.importers.safe_pickle import load_pickle
from ddl_tf.importers.source import Problem, Sample, Source, Value
from ddl_tf.importers.text_list import quoted, read_text_list, whole_number

NUM_FOLDS = 10
_PAIR_COLUMNS = ("first", "second", "same", "fold")
_SIGNATURES = (b"\xff\xd8\xff", b"\x89PNG\r\n\x1a\n")


@dataclasses.dataclass(frozen=True)
class PairSet:
    """A verification set.

    Attributes:
        name: for reports.
        images: the encoded images; they may be read when they are asked for.
        first: `[pairs]` int, positions in `images`.
        second: `[pairs]` int, positions in `images`.
        same: `[pairs]` bool, whether the two show one person.
        fold: `[pairs]` int, from 0: the official folds, or contiguous tenths.
        keys: `[images]` the name of each in its source, if it has one.
        people: `[images]` whom each image shows, any values, if known.
        columns: one row for each image, numbers such as `yaw`, or text such as a group.
        pair_columns: one row for each pair, what else a list says of it.
        copy_of: `[images]` int, the position of the first image with the same bytes; None if all images differ.
    """

    name: str
    images: Sequence[bytes]
    first: np.ndarray
    second: np.ndarray
    same: np.ndarray
    fold: np.ndarray
    keys: Optional[Sequence[str]] = None
    people: Optional[np.ndarray] = None
    columns: Optional[pd.DataFrame] = None
    pair_columns: Optional[pd.DataFrame] = None
    copy_of: Optional[np.ndarray] = None


def tenths(count: int) -> np.ndarray:
    """Cut `count` things into ten contiguous parts: the part of each, from 0."""
    return np.repeat(np.arange(NUM_FOLDS), [len(part) for part in np.array_split(np.arange(count), NUM_FOLDS)])


def read_bin(path: str) -> PairSet:
    """Read an InsightFace verification file; no code in it is run.

    The file is a pickle of the encoded images and of a list of booleans: images 0 and 1 are the first pair, 2 and 3 the
    second. That an image is whole shows when it is decoded.

    Args:
        path: the `.bin` file.

    Returns:
        The set, named after the file.

    Raises:
        InputError: if the file is no such pickle, asks to run something, its counts do not fit, or an image is neither
            JPEG nor PNG.
    """
    content = load_pickle(path)
    is_pair = isinstance(content, list) and len(content) == 2
    if not is_pair or not all(isinstance(part, (list, np.ndarray)) for part in content):
        raise InputError(f"{path}: holds no pair of lists (images, whether the same); is it a verification file?")
    bins, issame = content
    if len(bins) != 2 * len(issame):
        raise InputError(f"{path}: {len(bins)} images for {len(issame)} pairs, not two for each; get it anew")
    problems = ProblemList(path)
    for pair, mark in enumerate(issame):
        if not (isinstance(mark, (bool, int, np.bool_, np.integer)) and mark in (0, 1)):
            problems.add("wrong mark", path, f"pair {pair} is marked {_mark(mark)}, where True or False is expected")
    images = [value.tobytes() if isinstance(value, np.ndarray) and value.itemsize == 1 else value for value in bins]
    for index, image in enumerate(images):
        if not (isinstance(image, bytes) and image.startswith(_SIGNATURES)):
            problems.add("wrong image", path, f"image {index} is no JPEG or PNG, but {_what(image)}")
    problems.refuse("get the file anew")
    same, first = np.array(issame, bool), np.arange(0, len(images), 2)
    return PairSet(Path(path).stem, images, first, first + 1, same, tenths(len(same)), copy_of=_first_copies(images))


def _first_copies(images: Sequence[bytes]) -> np.ndarray:
    """The position of the first image with the same bytes: such a file repeats an image in each of its pairs."""
    positions: dict[bytes, int] = {}
    digests = (hashlib.sha256(image).digest() for image in images)
    return np.array([positions.setdefault(digest, place) for place, digest in enumerate(digests)], np.int64)


def _what(value: Any) -> str:
    return f"{len(value)} bytes that begin {value[:4]!r}" if isinstance(value, bytes) else f"of {type(value).__name__}"


def _mark(value: Any) -> str:
    """A mark as text: that of a list in lists, or of a long number, may have no end."""
    small = value is None or (isinstance(value, (int, float)) and abs(value) < 1e18)
    return repr(value) if small else _what(value)


def read_lfw(root: str, pairs: str, check_images: bool = True) -> PairSet:
    """Read pairs of Labeled Faces in the Wild, or of another set that is listed alike.

    Args:
        root: folder with a folder for each person, `<name>/<name>_0001.jpg` (or `.png`).
        pairs: the list: `pairs.txt` of View 2 (first line: the number of folds, and of same and of different pairs in
            each), or `pairsDevTest.txt` and the like of View 1 (first line: only the latter number). Then the lines
            `name i j` and `name1 i name2 j`.
        check_images: whether the images must exist; not for embeddings that were made elsewhere.

    Returns:
        The set, named `lfw_` and the list's name.

    Raises:
        InputError: if the list is no text in UTF-8, is not of the stated length, has a malformed line, a pair of an
            image with itself or a different pair of one person, or an image does not exist.

    References:
        http://vis-www.cs.umass.edu/lfw/README.txt
    """
    lines = read_text_list(pairs)
    while lines and not lines[-1].strip():
        lines.pop()
    header = [whole_number(part) for part in lines[0].split()] if lines else []
    if len(header) not in (1, 2) or None in header:
        first_line = quoted(" ".join(lines[0].split())) if lines else "''"
        raise InputError(f"{pairs}, line 1: {first_line} is not `folds pairs` or `pairs`; is it a list of LFW?")
    num_folds, per_class = (int(number or 0) for number in ([1, *header] if len(header) == 1 else header))
    if len(lines) - 1 != num_folds * 2 * per_class:
        stated = f"{num_folds} x 2 x {per_class}"
        raise InputError(f"{pairs}: {len(lines) - 1} pairs, where the first line says {stated}; get it anew")
    problems, numbers = ProblemList(pairs), dict[Path, int]()
    rows = []
    for line, text in enumerate(lines[1:], 2):
        pair, place = parse_lfw_line(text), f"{pairs}, line {line}"
        if pair is None:
            problems.add("malformed line", place, malformed(text))
            continue
        if pair.same and pair.first_number == pair.second_number:
            problems.add("pair of an image with itself", place, quoted(text.strip()))
        if not pair.same and pair.first == pair.second:
            problems.add("different pair of one person", place, quoted(text.strip()))
        named = ((pair.first, pair.first_number), (pair.second, pair.second_number))
        paths = [find_image(Path(root) / name / f"{name}_{number:04d}") for name, number in named]
        for path in paths:
            if check_images and path not in numbers and not path.is_file():
                problems.add("missing image", place, f"there is no image {path}")
        places = [numbers.setdefault(path, len(numbers)) for path in paths]
        rows.append((*places, pair.same, (line - 2) // (2 * per_class)))
    problems.refuse("check the root, or get the list anew")
    if not rows:
        raise InputError(f"{pairs}: there are no pairs in it")
    first, second, same, fold = map(np.array, zip(*rows))
    fold = tenths(len(rows)) if num_folds == 1 else fold
    keys, people = [f"{path.parent.name}/{path.name}" for path in numbers], [path.parent.name for path in numbers]
    images = image_files(list(numbers))
    return PairSet(f"lfw_{Path(pairs).stem}", images, first, second, same, fold, keys, np.array(people))


def read_cfp(root: str, protocol: str, folds: Sequence[int], check_images: bool = True) -> PairSet:
    """Read pairs of Celebrities in Frontal-Profile.

    Args:
        root: folder of CFP; see `ddl_tf.importers.cfp` for the layouts.
        protocol: "FF" (frontal-frontal) or "FP" (frontal-profile).
        folds: CFP's numbers of the folds, from 1.
        check_images: whether the images must exist; not for embeddings that were made elsewhere.

    Returns:
        The set, named `cfp_ff` or `cfp_fp`; its folds are CFP's number less 1.

    Raises:
        InputError: if the lists cannot be read, there is no such fold, or an image does not exist.
    """
    pairs = list(CFP(root).pairs(protocol, folds))
    problems, numbers = ProblemList(f"{root}, {protocol}"), dict[Path, int]()
    for pair in pairs:
        for path in (pair.first, pair.second):
            if check_images and path not in numbers and not path.is_file():
                problems.add("missing image", path, "there is no such image, CFP's lists name it")
            numbers.setdefault(path, len(numbers))
    problems.refuse("check the folder")
    first, second = (np.array([numbers[getattr(pair, side)] for pair in pairs]) for side in ("first", "second"))
    same, fold = np.array([pair.same for pair in pairs]), np.array([pair.fold - 1 for pair in pairs])
    keys, people = ["/".join(path.parts[-3:]) for path in numbers], [identity_and_view(path)[0] for path in numbers]
    images = image_files(list(numbers))
    return PairSet(f"cfp_{protocol.lower()}", images, first, second, same, fold, keys, np.array(people))


def pairs_table(pair_set: PairSet) -> pd.DataFrame:
    """Make the table of pairs that is stored with the images of a set."""
    table = pd.DataFrame({name: getattr(pair_set, name) for name in _PAIR_COLUMNS})
    return table if pair_set.pair_columns is None else pd.concat([table, pair_set.pair_columns], axis=1)


def pair_source(pair_set: PairSet, kind: str, name: str) -> Source:
    """Make the images of a set, read from `name` of a `kind` ("bin", "lfw", "cfp_pairs"), ready to store.

    Each image is an identity of its own, as a verification set does not always say whom it shows; keys and people are
    the columns `key` and `person`, beside those of the set. No image can be left out: the set would be another one.
    """
    known = {} if pair_set.columns is None else {str(at): pair_set.columns[at].tolist() for at in pair_set.columns}

    def read(start: int) -> Iterator[Union[Sample, Problem]]:
        for index in range(start, len(pair_set.images)):
            columns: dict[str, Value] = {} if pair_set.keys is None else {"key": str(pair_set.keys[index])}
            if pair_set.people is not None:
                columns["person"] = str(pair_set.people[index])
            columns.update({name: column[index] for name, column in known.items()})
            yield Sample(pair_set.images[index], index, f"{name}, image {index}", columns=columns)

    return Source(kind, name, len(pair_set.images), read, skippable=False)


def read_stored(path: str) -> PairSet:
    """Open a verification set that `python -m ddl_tf.prepare` stored.

    Args:
        path: its folder.

    Returns:
        The set, named after the folder; its images are read when they are asked for.

    Raises:
        InputError: if the folder is no stored verification set, or is damaged.
    """
    # TensorFlow takes seconds to import, and `prepare` does not read what it stored.
    from ddl_tf.data.store import Faces

    folder = Path(path)
    faces = Faces([path])
    if not (folder / PAIRS).is_file():
        raise InputError(f"{path}: a stored set without pairs; use it for training, or prepare a verification set")
    table = read_table(folder / PAIRS)
    try:
        first, second, same, fold = (table.pop(name).to_numpy() for name in _PAIR_COLUMNS)
    except KeyError as error:
        raise InputError(f"{folder / PAIRS}: the column {error} is missing; prepare the set again") from None
    if len(first) and not 0 <= min(first.min(), second.min()) <= max(first.max(), second.max()) < len(faces):
        raise InputError(f"{folder / PAIRS}: names images that the set does not have; prepare the set again")
    name, index = os.path.basename(os.path.abspath(path)), faces.index
    keys = index["key"].tolist() if "key" in index else None
    people = index["person"].to_numpy(object) if "person" in index else None
    columns = index.drop(columns=[*INDEX_COLUMNS, *({"key", "person"} & set(index))])
    further = table if len(table.columns) else None
    return PairSet(name, faces.images(), first, second, same, fold, keys, people, columns, further)
