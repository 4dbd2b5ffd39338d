"""SCface, surveillance cameras: its files, the split of its subjects, and some of them as a training set.

The official release (`SCface_database`) keeps mugshots in `mugshot_frontal_cropped_all` and
`mugshot_frontal_original_all` (`001_frontal.JPG`), and the images of the surveillance cameras in
`surveillance_cameras_distance_1` to `_3` (`cam_1/001_cam1_1.jpg`: subject, camera, distance) and, all of them once
more, in `surveillance_cameras_all`. Aligned crops are often kept under the same names in one folder, which is read too.

References:
    Grgic, Delac and Grgic, "SCface - surveillance cameras face database", Multimedia Tools and Applications 2011,
    https://www.scface.org
"""

import itertools
import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Union

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.image_files import images_below, read_sample
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.importers.source import Problem, Sample, Source, listed_source
from ddl_tf.importers.text_list import numbered_lines, quoted, whole_number

NUM_SUBJECTS = 130
# Cameras 6 and 7 are 1 and 5 in their infrared night mode.
VISIBLE_CAMERAS, NUM_CAMERAS = (1, 2, 3, 4, 5), 7
# 4.20 m, 2.60 m, 1.00 m.
DISTANCES = (1, 2, 3)
MUGSHOTS = ("cropped", "original")
NUM_TRAINING = 50
_VIEW = re.compile(r"(\d{3})_(?:frontal|cam([1-7])_([1-3]))", re.IGNORECASE)
# Mugshots in the infrared, and from the sides.
_OTHER = re.compile(r"\d{3}_(cam8|[lr]\d)", re.IGNORECASE)


class View(NamedTuple):
    """Which image of SCface: camera and distance are 0 for a mugshot."""

    subject: int
    camera: int
    distance: int

    @property
    def key(self) -> str:
        """The official name without its ending, `001_frontal` or `001_cam1_1`."""
        return f"{self.subject:03d}_" + (f"cam{self.camera}_{self.distance}" if self.camera else "frontal")


def mugshot(subject: int) -> View:
    """Name the mugshot of a subject."""
    return View(subject, 0, 0)


def check_choice(subjects: Sequence[int], cameras: Sequence[int]) -> None:
    """Refuse subjects and cameras (from 1) that SCface does not have, that are given twice, or none at all."""
    for what, chosen, last in (("subject", subjects, NUM_SUBJECTS), ("camera", cameras, NUM_CAMERAS)):
        if not chosen:
            raise InputError(f"no {what} of SCface is chosen: give some of 1 to {last}")
        for number in chosen:
            if not 1 <= number <= last:
                raise InputError(f"SCface has no {what} {number}: give some of 1 to {last}")
        if len(set(chosen)) < len(chosen):
            twice = next(number for number in chosen if list(chosen).count(number) > 1)
            raise InputError(f"{what} {twice} of SCface is given twice: give each once")


def split_subjects(seed: int = 0) -> tuple[list[int], list[int]]:
    """Split SCface's subjects into 50 to train on and 80 to test on, as Lu et al. and the papers after them do.

    Which ones is not published: here the first 50 of `numpy.random.RandomState(seed).permutation(130)`, plus 1, are for
    training (Lu, Jiang and Kot, "Deep Coupled ResNet for Low-Resolution Face Recognition", IEEE SPL 2018).
    """
    if seed < 0:
        raise InputError(f"seed {seed} of the split of SCface: must be at least 0")
    # RandomState's numbers, unlike those of a Generator, are the same in every version of NumPy.
    order = np.random.RandomState(seed).permutation(NUM_SUBJECTS) + 1
    return sorted(order[:NUM_TRAINING].tolist()), sorted(order[NUM_TRAINING:].tolist())


def read_subjects(path: str) -> list[int]:
    """Read a list of subjects, a number a line, `7` or `007`; empty lines are left out."""
    problems = ProblemList(path)
    lines: dict[int, int] = {}
    for line, text in numbered_lines(path):
        subject = whole_number(text)
        if subject is None or not 1 <= subject <= NUM_SUBJECTS:
            problems.add("unknown subject", f"line {line}", f"{quoted(text)} is not a number of 1 to {NUM_SUBJECTS}")
        elif subject in lines:
            problems.add("duplicate line", f"line {line}", f"subject {subject} is in line {lines[subject]} too")
        else:
            lines[subject] = line
    problems.refuse("correct the list")
    if not lines:
        raise InputError(f"{path}: no subject in it; give a number of 1 to {NUM_SUBJECTS} a line")
    return list(lines)


def find_views(root: str, mugshots: str = "cropped") -> dict[View, Path]:
    """Find the images of SCface in a folder, at any depth, by their official names, ending in .jpg, .jpeg or .png.

    `root` is the official `SCface_database`, the folder that holds it, or a folder with all images. `mugshots` is the
    official folder, "cropped" or "original", to take where there are both. Other and doubled names are an `InputError`.
    """
    if mugshots not in MUGSHOTS:
        raise InputError(f"mugshots {mugshots!r} of SCface: use {' or '.join(MUGSHOTS)}")
    if not Path(root).is_dir():
        raise InputError(f"{root}: no such folder; give the one that holds SCface's images")
    base = Path(root) / "SCface_database"
    base = base if base.is_dir() else Path(root)
    problems = ProblemList(root)
    views: dict[View, Path] = {}
    for folder in _folders(base, mugshots):
        for path in images_below(folder):
            match = _VIEW.fullmatch(path.stem)
            view = View(*(int(number or 0) for number in match.groups())) if match else None
            if view is None:
                if not _OTHER.fullmatch(path.stem):
                    problems.add("stray image", path, "it is not named like 001_frontal.jpg or 001_cam1_2.jpg")
            elif not 1 <= view.subject <= NUM_SUBJECTS:
                problems.add("unknown subject", path, f"SCface has the subjects 001 to {NUM_SUBJECTS}")
            elif views.setdefault(view, path) != path:
                problems.add("duplicate image", path, f"{views[view]} is the same view")
    problems.refuse("keep one image of each view, under its official name")
    if not views:
        raise InputError(
            f"{root}: no image of SCface in it; give the folder that holds 001_frontal.jpg, 001_cam1_1.jpg"
        )
    return views


def _folders(base: Path, mugshots: str) -> list[Path]:
    """Choose the folders to look into: of the official ones, each view is in two or three."""
    frontal = {name: base / f"mugshot_frontal_{name}_all" for name in MUGSHOTS}
    distances = [base / f"surveillance_cameras_distance_{distance}" for distance in DISTANCES]
    together = base / "surveillance_cameras_all"
    present = [folder for folder in frontal.values() if folder.is_dir()]
    surveillance = [folder for folder in distances if folder.is_dir()] or [together] * together.is_dir()
    if not present and not surveillance:
        return [base]
    if present and not frontal[mugshots].is_dir():
        raise InputError(f"{base}: there is {present[0].name}, not {frontal[mugshots].name}; choose the other mugshots")
    for what, folders in (("mugshot_frontal_cropped_all", present), ("surveillance_cameras_all", surveillance)):
        if not folders:
            raise InputError(f"{base}: the folder {what} is missing beside SCface's others; complete the set")
    return [frontal[mugshots], *surveillance]


def scface_source(
    root: str,
    subjects: Sequence[int],
    cameras: Sequence[int] = VISIBLE_CAMERAS,
    easy_distances: Sequence[int] = (3,),
    mugshots: str = "cropped",
) -> Source:
    """Make a training set of some subjects of SCface; an `InputError` if one, a camera or a distance does not exist.

    Args:
        root: as for `find_views`.
        subjects: numbers, such as the training half of `split_subjects`.
        cameras: whose images to take.
        easy_distances: the distances whose images are easy (group 0), as the mugshots are; the others are group 1.
        mugshots: as for `find_views`.

    Returns:
        The samples by subject (the identity is `001`), the mugshot before the cameras, with the columns `camera` and
        `distance` (1 = 4.20 m, 2 = 2.60 m, 3 = 1.00 m); both are 0 for the mugshot.
    """
    check_choice(subjects, cameras)
    for distance in easy_distances:
        if distance not in DISTANCES:
            raise InputError(f"SCface has no distance {distance}: give some of 1 to {len(DISTANCES)}")
    paths = find_views(root, mugshots)
    places = [(0, 0), *itertools.product(cameras, DISTANCES)]
    views = [View(subject, *place) for subject in subjects for place in places]

    def sample(view: View) -> Union[Sample, Problem]:
        if view not in paths:
            return Problem("missing file", f"{root}, {view.key}", "there is no image of this name")
        columns = {"camera": view.camera, "distance": view.distance}
        group = 0 if view.camera == 0 or view.distance in easy_distances else 1
        return read_sample(paths[view], str(paths[view]), f"{view.subject:03d}", str(paths[view]), group, columns)

    name = f"{root}, subjects {','.join(map(str, subjects))}"
    return listed_source("scface", name, views, sample, [f"{subject:03d}" for subject in subjects])
