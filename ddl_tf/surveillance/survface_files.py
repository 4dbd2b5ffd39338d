"""QMUL-SurvFace in its published layout: the official pairs, and the gallery and probes of the open-set search."""

from pathlib import Path
from typing import Any, Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.gallery_set import NO_IMAGE, GallerySet, ImageList
from ddl_tf.protocols.matlab_file import read_matlab
from ddl_tf.protocols.matlab_lists import images_by_stem, read_people_list
from ddl_tf.protocols.pair_collection import ListedImage, PairCollection
from ddl_tf.protocols.pair_sets import PairSet

VERIFICATION, IDENTIFICATION = "Face_Verification_Test_Set", "Face_Identification_Test_Set"
PAIR_IMAGES, GALLERY, MATED, UNMATED = "verification_images", "gallery", "mated_probe", "unmated_probe"
OFFICIAL_PAIRS = 2 * 5320
# Whom an unmated probe shows, as a number: nobody of the gallery.
STRANGER = -1

_PAIR_LISTS = {"positive_pairs_names": True, "negative_pairs_names": False}
_PEOPLE_LISTS = {"gallery": "gallery_img_ID_pairs.mat", "mated_probe": "mated_probe_img_ID_pairs.mat"}
# The lists of the search are also given out beside the script that reads them.
_LIST_FOLDERS = (IDENTIFICATION, "Face_Identification_Evaluation", "")


def person_of(name: str) -> str:
    """Whom an image shows, by its name: `100_cam1_1.jpg` shows 100, `distractors_7.jpg` somebody else each time."""
    stem = Path(name).stem
    first = stem.partition("_")[0]
    return first if first.isdecimal() else stem


def camera_of(name: str) -> str:
    """Whom an image shows and by which camera: `100_cam1` of `100_cam1_1.jpg`."""
    return Path(name).stem.rpartition("_")[0]


def read_survface_pairs(root: str, images: Optional[str] = None, check_images: bool = True) -> PairSet:
    """Read the official pairs of QMUL-SurvFace, as `survface_pairs`.

    `Face_Verification_Test_Set` below `root` has `positive_pairs_names.mat` and `negative_pairs_names.mat`, each with a
    cell of names of that name, two a row; 5,320 pairs each. The images are in its `verification_images`, or in that
    folder of `images`. There are no official folds: fold k is the k-th tenth of both lists.

    Raises:
        ProblemsError: with all that is wrong: rows that are not two names, missing images, an image with itself.
        InputError: if a list cannot be read.

    References:
        Cheng, Zhu and Gong, Surveillance Face Recognition Challenge, arXiv 1804.09691; https://qmul-survface.github.io
    """
    folder = Path(root) / VERIFICATION
    pictures = (Path(images) if images is not None else folder) / PAIR_IMAGES
    collection = PairCollection("survface_pairs", folder, pictures, check_images, OFFICIAL_PAIRS)
    for name, same in _PAIR_LISTS.items():
        path = folder / f"{name}.mat"
        if not path.is_file():
            raise InputError(f"{path} is not there; give the folder QMUL-SurvFace, which holds {VERIFICATION}")
        for row, cells in enumerate(read_matlab(path, [name])[name], 1):
            names = [_text(cell) for cell in cells] if isinstance(cells, list) else []
            if len(names) != 2 or not all(names):
                collection.problems.add("malformed line", f"{path}, row {row}", "not a cell of two names")
                continue
            first, second = (ListedImage(text, person_of(text)) for text in names)
            collection.add(first, second, same, f"{path}, row {row}")
    return collection.finish("complete the images, or get the lists anew", folds="classes")


def _text(cell: Any) -> str:
    """The plain file name in a cell, which holds a list of one text; empty if it holds something else."""
    while isinstance(cell, list) and len(cell) == 1:
        cell = cell[0]
    return cell if isinstance(cell, str) and Path(cell).name == cell else ""


def read_survface_search(
    root: str, images: Optional[str] = None, missing: str = "refuse", check_images: bool = True
) -> GallerySet:
    """Read the open-set search of QMUL-SurvFace, as `survface_search`; unmated probes show `STRANGER`.

    `Face_Identification_Test_Set` below `root` has `gallery_img_ID_pairs.mat` and `mated_probe_img_ID_pairs.mat`
    (`gallery_set`, `gallery_ids` and so on), and the images in `gallery`, `mated_probe` and `unmated_probe`; no list
    names the last ones. `images` is a folder with the same three folders of other, aligned images, which are found by
    name without ending. Missing images are refused, or with `missing="count"` such a probe is never found, and a person
    without any image finds nobody. The `condition` of a probe is "mated" or "unmated".

    Raises:
        ProblemsError: with all that is wrong: missing, unlisted and doubled images, probes without mate, an empty
            gallery, no unmated probe.
        InputError: if there is no such set, or a list cannot be read.
    """
    pictures = Path(images) if images is not None else Path(root) / IDENTIFICATION
    folders = (GALLERY, MATED, UNMATED)
    for folder in folders if check_images else (UNMATED,):
        if not (pictures / folder).is_dir():
            raise InputError(f"{pictures}: there is no folder {folder}; give one with {', '.join(folders)}")
    problems = ProblemList(f"survface in {pictures}")
    image_list = ImageList(problems, missing, check_images)
    positions, people = {}, {}
    for kind, file in _PEOPLE_LISTS.items():
        names, people[kind] = read_people_list(_find_list(Path(root), file), kind, problems)
        paths = images_by_stem(pictures / kind, problems)
        for stem in sorted(set(paths) - {Path(name).stem for name in names}):
            problems.add("unlisted image", paths[stem], f"{file} does not name it")
        positions[kind] = [image_list.add(f"{kind}/{name}", paths.get(Path(name).stem)) for name in names]
    for person in sorted(set(people[MATED]) - set(people[GALLERY])):
        problems.add("probe without mate", f"person {person}", "no image of gallery shows them")
    if all(position == NO_IMAGE for position in positions[GALLERY]):
        problems.add("empty gallery", pictures / GALLERY, "there is no image of it")
    strangers = sorted(images_by_stem(pictures / UNMATED, problems).items())
    if not strangers:
        problems.add("missing image", pictures / UNMATED, "there is no unmated probe")
    positions[UNMATED] = [image_list.add(f"{UNMATED}/{stem}", path) for stem, path in strangers]
    problems.refuse("complete the set, or count missing images")
    probes = positions[MATED] + positions[UNMATED]
    probe_people = people[MATED] + [STRANGER] * len(strangers)
    condition = ["mated"] * len(positions[MATED]) + ["unmated"] * len(strangers)
    columns = map(np.array, (positions[GALLERY], people[GALLERY], probes, probe_people, condition))
    return GallerySet("survface_search", image_list.images(), image_list.keys, *columns)


def _find_list(root: Path, file: str) -> Path:
    places = [root / folder / file for folder in _LIST_FOLDERS]
    found = next((place for place in places if place.is_file()), None)
    if found is None:
        raise InputError(f"{places[0]} is not there; give the folder QMUL-SurvFace, which holds {IDENTIFICATION}")
    return found
