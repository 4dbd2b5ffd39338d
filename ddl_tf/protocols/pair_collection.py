"""What is common to lists of verification pairs: images by name, folds, and everything that can be wrong."""

import dataclasses
import sys
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, Optional

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.importers.image_files import IMAGE_SUFFIXES, find_image, image_files
from ddl_tf.importers.lfw_line import is_plain_name, malformed, parse_lfw_line
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.importers.text_list import read_text_list
from ddl_tf.protocols.pair_sets import NUM_FOLDS, PairSet, tenths

# LFW's View 2 and all lists made like it: ten folds of 300 same and 300 different pairs.
OFFICIAL_PAIRS = 6000


@dataclasses.dataclass(frozen=True)
class ListedImage:
    """An image in a list: its `key` (the path below the folder of images), whom it shows, and the age in years."""

    key: str
    person: str
    age: Optional[float] = None


@dataclasses.dataclass(frozen=True)
class _Pair:
    first: int
    second: int
    same: bool
    fold: Optional[int]
    place: str


class PairCollection:
    """Collects the pairs of a list and the `problems` of the list, and makes the set at the end.

    `official` is how many pairs the published list has.
    """

    def __init__(
        self, name: str, list_file: Path, folder: Path, check_images: bool = True, official: int = OFFICIAL_PAIRS
    ) -> None:
        self.problems = ProblemList(name)
        self._name, self._list, self._folder, self._check = name, list_file, folder, check_images
        self._official = official
        self._numbers: dict[str, int] = {}
        self._images: list[ListedImage] = []
        self._paths: list[Path] = []
        self._pairs: list[_Pair] = []

    def add(self, first: ListedImage, second: ListedImage, same: bool, place: str, fold: Optional[int] = None) -> None:
        """Add a pair that is listed at a `place`, the file and the line in it; `fold` is from 0, if listed."""
        if first.key == second.key:
            self.problems.add("pair of an image with itself", place, first.key)
        self._pairs.append(_Pair(self._number(first, place), self._number(second, place), same, fold, place))

    def _number(self, image: ListedImage, place: str) -> int:
        if image.key not in self._numbers:
            self._numbers[image.key] = len(self._images)
            self._images.append(image)
            self._paths.append(self._path(image.key, place))
        return self._numbers[image.key]

    def _path(self, key: str, place: str) -> Path:
        named = self._folder / key
        path = named if named.suffix.lower() in IMAGE_SUFFIXES else find_image(named)
        if self._check and not path.is_file():
            self.problems.add("missing image", place, f"there is no {path}")
        return path

    def finish(self, advice: str, folds: Literal["given", "blocks", "classes"]) -> PairSet:
        """Make the set, its pairs in the order of the list, or raise ProblemsError with `advice` and all that is wrong.

        `folds` are "given" with each pair; "blocks", contiguous tenths of the list; or "classes", contiguous tenths of
        the same pairs and of the different pairs.
        """
        same = np.array([pair.same for pair in self._pairs], bool)
        if folds == "given":
            fold = np.array([pair.fold for pair in self._pairs], int)
        else:
            fold = tenths(len(same)) if folds == "blocks" else tenths_of_classes(same)
        if "malformed line" not in self.problems.counts():
            self._check_counts(same, fold)
        doubled = self._check_doubled()
        self.problems.refuse(advice)
        self._report(same, doubled)
        first, second = (np.array([getattr(pair, side) for pair in self._pairs]) for side in ("first", "second"))
        keys, people, ages = map(list, zip(*map(dataclasses.astuple, self._images)))
        columns = None if None in ages else pd.DataFrame({"age": ages})
        images = image_files(self._paths)
        return PairSet(self._name, images, first, second, same, fold, keys, np.array(people), columns)

    def _check_counts(self, same: np.ndarray, fold: np.ndarray) -> None:
        """Ten folds, each with as many same pairs as different ones: a list that was cut off does not have them."""
        counts = [np.bincount(fold[same == kind], minlength=NUM_FOLDS).tolist() for kind in (True, False)]
        if len(same) and len(counts[0]) == len(counts[1]) == NUM_FOLDS and len({*counts[0], *counts[1]}) == 1:
            return
        # How often each count occurs.
        by_fold = [", ".join(f"{n} x {count}" for count, n in Counter(part).items()) for part in counts]
        pairs = f"{np.sum(same):,} same and {np.sum(~same):,} different pairs, by fold {' and '.join(by_fold)}"
        each = self._official // (2 * NUM_FOLDS)
        reason = f"{pairs}, where ten folds have equally many of both, officially {each}"
        self.problems.add("wrong count", self._list, reason)

    def _check_doubled(self) -> int:
        """Count the pairs that are listed again; one that is said to be both same and different is refused."""
        seen: dict[tuple[int, int], _Pair] = {}
        doubled = 0
        for pair in self._pairs:
            before = seen.setdefault((min(pair.first, pair.second), max(pair.first, pair.second)), pair)
            if before is pair:
                continue
            doubled += 1
            if before.same != pair.same:
                names = f"{self._images[pair.first].key} and {self._images[pair.second].key}"
                reason = f"{names}, other than at {before.place}"
                self.problems.add("pair listed as both same and different", pair.place, reason)
        return doubled

    def _report(self, same: np.ndarray, doubled: int) -> None:
        """Report on stderr what is odd and yet counted as the list says."""
        people, reports = [image.person for image in self._images], list[str]()
        odd = [pair for pair in self._pairs if pair.same != (people[pair.first] == people[pair.second])]
        if len(same) != self._official:
            reports.append(f"{len(same):,} pairs, not the official {self._official:,}; not the benchmark's numbers")
        if doubled:
            reports.append(f"{doubled:,} of the pairs are listed again; each counts as often as it is listed")
        if odd:
            place = f"as {odd[0].place}; the mark counts"
            reports.append(f"{len(odd):,} of the pairs are marked other than the names say, {place}")
        for report in reports:
            print(f"{self._name}: {report}", file=sys.stderr)


def tenths_of_classes(same: np.ndarray) -> np.ndarray:
    """Cut the same pairs, and the different pairs, into ten contiguous parts each: the part of each pair, from 0."""
    fold = np.empty(len(same), int)
    for kind in (True, False):
        members = np.flatnonzero(same == kind)
        fold[members] = tenths(len(members))
    return fold


def first_folder(root: Path, names: Sequence[str]) -> Path:
    """Find the folder of images below `root`: the first that exists, else `root` itself."""
    return next((root / name for name in names if (root / name).is_dir()), root)


def read_lines(path: Path) -> list[str]:
    """Read the lines of a list, stripped, without empty ones at the end."""
    if not path.is_file():
        raise InputError(f"{path.parent}: there is no {path.name} in it; give the folder that holds the official list")
    lines = [line.strip() for line in read_text_list(path)]
    while lines and not lines[-1]:
        lines.pop()
    return lines


def add_lfw_lines(collection: PairCollection, path: Path, lines: Sequence[str], first_line: int = 1) -> None:
    """Add the pairs of lines like LFW's, `name i j` and `name1 i name2 j`, of images `name/name_000i`."""
    for number, line in enumerate(lines, first_line):
        pair, place = parse_lfw_line(line), f"{path}, line {number}"
        if pair is None:
            collection.problems.add("malformed line", place, malformed(line))
            continue
        named = ((pair.first, pair.first_number), (pair.second, pair.second_number))
        first, second = (ListedImage(f"{name}/{name}_{index:04d}", name) for name, index in named)
        collection.add(first, second, pair.same, place)


def named_image(name: str) -> Optional[ListedImage]:
    """Make the image of a file name such as `Ann_Abel_0001.jpg`; None if the name is not of that form."""
    person, separator, number = Path(name).stem.rpartition("_")
    if not (separator and person and number and is_plain_name(name) and Path(name).suffix):
        return None
    return ListedImage(name, person)
