"""Lists of images in MATLAB files, as TinyFace and QMUL-SurvFace have them, and the images that they name."""

from pathlib import Path

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.image_files import images_below
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.matlab_file import read_matlab


def read_people_list(path: Path, kind: str, problems: ProblemList) -> tuple[list[str], list[int]]:
    """Read a list of the names of images, and of whom they show, whole numbers: `<kind>_set` and `<kind>_ids`.

    `problems` gets the names that are listed twice; a list of another form is an `InputError`.
    """
    content = read_matlab(path, (f"{kind}_set", f"{kind}_ids"))
    try:
        # A cell holds a list of one text.
        names = ["".join(cell) for row in content[f"{kind}_set"] for cell in row]
        people = np.ravel(content[f"{kind}_ids"])
    except (TypeError, ValueError) as error:
        reason = f"not cells of names and a matrix of numbers: {error}"
        raise InputError(f"{path}: {reason}; is it the official list? get it anew") from None
    if people.dtype.kind not in "iuf" or np.any((people < 0) | (people % 1 != 0) | (people >= 2**53)):
        raise InputError(f"{path}: {kind}_ids are not whole numbers from 0; is it the official list? get it anew")
    if len(names) != len(people) or not names:
        raise InputError(f"{path}: {len(names)} names and {len(people)} numbers of people; get it anew")
    seen: dict[str, int] = {}
    for line, name in enumerate(names, 1):
        if Path(name).stem in seen:
            problems.add("duplicate line", f"{path}, row {line}", f"{name} is in row {seen[Path(name).stem]} too")
        seen.setdefault(Path(name).stem, line)
    return names, people.astype(int).tolist()


def images_by_stem(folder: Path, problems: ProblemList) -> dict[str, Path]:
    """Find the images of a folder, at any depth, by name without ending; `problems` gets names that are there twice."""
    paths: dict[str, Path] = {}
    for path in images_below(folder):
        if paths.setdefault(path.stem, path) != path:
            problems.add("duplicate image", path, f"{paths[path.stem]} has the same name")
    return paths
