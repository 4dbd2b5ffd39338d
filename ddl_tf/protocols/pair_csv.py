"""A verification set of one's own: pairs of image files in a CSV file."""

import sys
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from ddl_tf.common.errors import InputError
from ddl_tf.importers.csv_files import Table, read_csv
from ddl_tf.importers.image_files import image_files
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.pair_sets import PairSet, tenths

_IMAGES = ("first", "second")
_PEOPLE = ("first_person", "second_person")
# The columns of Balanced Faces in the Wild (https://github.com/visionjo/facerec-bias-bfw), by what they are here.
_BFW = {"p1": "first", "p2": "second", "label": "same", "id1": "first_person", "id2": "second_person"}
_MARKS = {"1": True, "true": True, "yes": True, "0": False, "false": False, "no": False}
_HEADER = "the first line of a list of pairs names its columns: first,second,same and perhaps fold and others"


def read_pair_csv(csv: str, root: Optional[str] = None, check_images: bool = True) -> PairSet:
    r"""Read pairs of image files from a CSV file with the columns `first`, `second` and `same` in UTF-8.

    `first` and `second` are paths below `root` (the file's folder), `same` is 1, true or yes, or 0, false or no.
    Optional columns are `fold` (contiguous tenths without it), and `first_person` and `second_person`, whom the images
    show, so that intervals are over people. `first_NAME` and `second_NAME` are the column NAME of the images, such as a
    group. Further columns stay with the pairs. The list of Balanced Faces in the Wild is read as it is: `p1`, `p2`,
    `label`, `id1`, `id2` stand for these, and `att1` and `att2`, `g1` and `g2`, ... are the columns `att`, `g`, ....
    The set is named after the file, its keys are the paths as listed. Without `check_images` no image need exist.
    Everything that is wrong with the pairs is raised as one `InputError`.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp()) / "pairs.csv"
        >>> _ = file.write_text("first,second,same\na 1.jpg,a 2.JPG,1\na 1.jpg,b 1.jpg,0\n")
        >>> read_pair_csv(str(file), check_images=False).same
        array([ True, False])
    """
    path = Path(csv)
    base = Path(root) if root else path.parent
    table, sides = _read_table(path)
    if not len(table.cells):
        raise InputError(f"{csv}: there are no pairs in it; {_HEADER}")
    problems = ProblemList(csv)
    names, numbers = _number_images(table, problems)
    paths = [base / name for name in names]
    if check_images:
        rows = np.tile(np.arange(numbers.shape[1]), 2)[np.unique(numbers.reshape(-1), return_index=True)[1]]
        for name, file, row in zip(names, paths, rows):
            # A name that is missing was reported already.
            if name and not file.is_file():
                problems.add("missing image", _place(table, problems, row), f"there is no image {file}")
    same = _read_marks(table, problems)
    people = _read_people(table, numbers, same, problems)
    # Contradictions among marks and images that are no pairs would repeat what is said already.
    if not problems.problems:
        _check_contradictions(table, names, numbers, same, problems)
    columns = _image_columns(table, sides, numbers, problems)
    problems.refuse(f"correct {path.name}")
    doubled = numbers.shape[1] - np.unique(np.sort(numbers, axis=0), axis=1).shape[1]
    if doubled:
        report = f"{doubled:,} of the pairs are listed again; each counts as often as it is listed"
        print(f"{csv}: {report}", file=sys.stderr)
    used = [*_IMAGES, "same", "fold", *_PEOPLE, *(name for names in sides.values() for name in names)]
    cells = table.cells.drop(columns=used, errors="ignore")
    further, fold = cells if len(cells.columns) else None, _read_folds(csv, table)
    first, second = numbers
    return PairSet(path.stem, image_files(paths), first, second, same, fold, names, people, columns, further)


def _read_table(path: Path) -> tuple[Table, dict[str, tuple[str, str]]]:
    """Read the file, and name the columns that say something of either image: `first_NAME`, `second_NAME`."""
    try:
        table, forms = read_csv(path, [*_IMAGES, "same"], text=(*_PEOPLE, "fold")), ("first_{}", "second_{}")
    except InputError as error:
        if "there is no column" not in str(error):
            raise
        try:
            bfw = read_csv(path, [name for name in _BFW if name in ("p1", "p2", "label")], text=(*_BFW, "fold"))
        except InputError:
            raise InputError(f"{error}; {_HEADER}; or it has p1,p2,label as that of BFW") from None
        table, forms = Table(bfw.cells.rename(columns=_BFW), bfw.lines), ("{}1", "{}2")
    one, other = forms
    suffixes = [name[len("first_") :] if one == "first_{}" else name[:-1] for name in map(str, table.cells)]
    pairs = {name: (one.format(name), other.format(name)) for name in suffixes if name not in ("person", "")}
    return table, {name: both for name, both in pairs.items() if set(both) <= set(table.cells)}


def _image_columns(
    table: Table, sides: dict[str, tuple[str, str]], numbers: np.ndarray, problems: ProblemList
) -> Optional[pd.DataFrame]:
    """What the list says of each image, a row for each; all lines must agree. None if it says nothing."""
    columns = {}
    for name, both in sides.items():
        values = np.concatenate([table.cells[side].to_numpy(object) for side in both])
        _, firsts = np.unique(numbers.reshape(-1), return_index=True)
        of_image = values[firsts]
        # NaN, an empty cell among numbers, is like itself.
        differ = (values != of_image[numbers.reshape(-1)]) & ~(pd.isna(values) & pd.isna(of_image[numbers.reshape(-1)]))
        for row in np.flatnonzero(differ.reshape(2, -1).any(axis=0)):
            reason = f"{both[0]} or {both[1]} is other than a line before says of the image"
            problems.add("image of two values", _place(table, problems, row), reason)
        columns[name] = pd.Series(of_image).infer_objects()
    return pd.DataFrame(columns) if columns else None


def _place(table: Table, problems: ProblemList, row: int) -> str:
    return f"{problems.name}, line {table.lines[row]}"


def _number_images(table: Table, problems: ProblemList) -> tuple[list[str], np.ndarray]:
    """The names of images, in order of appearance, and the numbers of the images of each pair, `[2, pairs]`."""
    cells = np.stack([table.cells[name].to_numpy(object) for name in _IMAGES], axis=1)
    codes, names = pd.factorize(cells.reshape(-1))
    numbers = codes.reshape(-1, 2).T
    for row in np.flatnonzero((cells == "").any(axis=1)):
        problems.add("missing value", _place(table, problems, row), "an image has no name")
    for row in np.flatnonzero((numbers[0] == numbers[1]) & (cells[:, 0] != "")):
        problems.add("pair of an image with itself", _place(table, problems, row), str(cells[row, 0]))
    return [str(name) for name in names], numbers


def _read_marks(table: Table, problems: ProblemList) -> np.ndarray:
    marks = table.cells["same"].str.strip().str.lower().map(_MARKS)
    for row in np.flatnonzero(marks.isna()):
        value = table.cells["same"].iloc[row]
        problems.add("wrong mark", _place(table, problems, row), f"same is {value!r}: use 1 (one person) or 0 (two)")
    return marks.eq(True).fillna(False).to_numpy(bool)


def _read_people(table: Table, numbers: np.ndarray, same: np.ndarray, problems: ProblemList) -> Optional[np.ndarray]:
    """Whom each image shows, `[images]` text; all rows must agree."""
    named = [name for name in _PEOPLE if name in table.cells]
    if not named:
        return None
    if len(named) == 1:
        raise InputError(f"{problems.name}: a column {named[0]} alone: give first_person and second_person, or neither")
    people = np.stack([table.cells[name].to_numpy(object) for name in _PEOPLE])
    of_image = np.full(numbers.max() + 1, "", object)
    # The first row that shows an image says whom it shows.
    of_image[numbers.reshape(-1)[::-1]] = people.reshape(-1)[::-1]
    for row in np.flatnonzero((people == "").any(axis=0)):
        problems.add("missing value", _place(table, problems, row), "an image has no person")
    for row in np.flatnonzero((people != of_image[numbers]).any(axis=0)):
        reason = f"{people[0, row]!r} and {people[1, row]!r}, other than a line before says of these images"
        problems.add("image of two people", _place(table, problems, row), reason)
    for row in np.flatnonzero((people[0] == people[1]) != same):
        reason = f"marked {int(same[row])}, of {people[0, row]!r} and {people[1, row]!r}"
        problems.add("mark other than the people", _place(table, problems, row), reason)
    return of_image


def _check_contradictions(
    table: Table, names: list[str], numbers: np.ndarray, same: np.ndarray, problems: ProblemList
) -> None:
    """Images that same pairs link are of one person: a different pair of them contradicts the others."""
    first, second = numbers[:, same]
    links = coo_array((np.ones(len(first)), (first, second)), shape=(len(names), len(names)))
    _, person = connected_components(links, directed=False)
    for row in np.flatnonzero(~same & (person[numbers[0]] == person[numbers[1]])):
        reason = f"{names[numbers[0, row]]} and {names[numbers[1, row]]} are different here, the same by other lines"
        problems.add("contradiction", _place(table, problems, row), reason)


def _read_folds(csv: str, table: Table) -> np.ndarray:
    """The fold of each pair, numbered from 0 in the order of the folds' names: as numbers where all are."""
    if "fold" not in table.cells:
        return tenths(len(table.cells))
    cells = table.cells["fold"].str.strip()
    if (cells == "").any():
        row = int(np.argmax(cells == ""))
        raise InputError(f"{csv}, line {table.lines[row]}: no fold: give every pair one, or leave the column out")
    numeric = pd.to_numeric(cells, errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return np.unique(numeric if np.isfinite(numeric).all() else cells.to_numpy(str), return_inverse=True)[1]
