"""TinyFace: faces of about 20 pixels from the web are searched among as small ones and 153,428 distractors."""

from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.gallery_set import GallerySet, ImageList
from ddl_tf.protocols.matlab_lists import images_by_stem, read_people_list

# Whom a distractor shows; the official script numbers them so too.
DISTRACTOR = -100

_LISTS = {"gallery": "gallery_match_img_ID_pairs.mat", "probe": "probe_img_ID_pairs.mat"}
_FOLDERS = {"gallery": "Gallery_Match", "probe": "Probe"}
_DISTRACTORS = "Gallery_Distractor"


def read_tinyface(
    root: str, images: Optional[str] = None, missing: str = "refuse", check_images: bool = True
) -> GallerySet:
    """Read TinyFace's identification protocol (Cheng, Zhu and Gong, ACCV 2018); docs/identification.md has its files.

    `root` has the lists, or is one or two levels above them. `images` is a folder of other, aligned images; they are
    found by their names without the ending. Missing images are refused, or with `missing="count"` such a probe is never
    found, such a mate never finds anyone, and such a distractor (known by its image beside the lists) misleads nobody.
    Without `check_images` only the folder of distractors must be there, as no list names them.
    """
    lists = _find_lists(root)
    pictures = Path(images) if images is not None else lists
    folders = (*_FOLDERS.values(), _DISTRACTORS)
    for folder in folders if check_images else (_DISTRACTORS,):
        if not (pictures / folder).is_dir():
            raise InputError(f"{pictures}: there is no folder {folder}; give one with {', '.join(folders)}")
    problems = ProblemList(f"tinyface in {pictures}")
    image_list = ImageList(problems, missing, check_images)
    positions, people = {}, {}
    for kind, file in _LISTS.items():
        names, people[kind] = read_people_list(lists / file, kind, problems)
        paths = images_by_stem(pictures / _FOLDERS[kind], problems)
        for stem in sorted(set(paths) - {Path(name).stem for name in names}):
            problems.add("unlisted image", paths[stem], f"{file} does not name it")
        positions[kind] = [image_list.add(f"{_FOLDERS[kind]}/{name}", paths.get(Path(name).stem)) for name in names]
    for person in sorted(set(people["probe"]) - set(people["gallery"])):
        problems.add("probe without mate", f"person {person}", "no image of Gallery_Match shows them")
    distractors = _distractors(lists, pictures, image_list, problems)
    problems.refuse("complete the set, or count missing images")
    gallery, gallery_people = positions["gallery"] + distractors, people["gallery"] + [DISTRACTOR] * len(distractors)
    columns = map(np.array, (gallery, gallery_people, positions["probe"], people["probe"], [""] * len(people["probe"])))
    return GallerySet("tinyface", image_list.images(), image_list.keys, *columns)


def _find_lists(root: str) -> Path:
    for place in (Path(root), Path(root) / "Testing_Set", Path(root) / "tinyface" / "Testing_Set"):
        if all((place / name).is_file() for name in _LISTS.values()):
            return place
    raise InputError(f"{root}: TinyFace's lists {' and '.join(_LISTS.values())} are not there; give Testing_Set")


def _distractors(lists: Path, pictures: Path, image_list: ImageList, problems: ProblemList) -> list[int]:
    """Add the distractors; no list names them, but the official images beside the lists show which there should be."""
    paths = images_by_stem(pictures / _DISTRACTORS, problems)
    official = lists / _DISTRACTORS
    expected = paths if pictures == lists or not official.is_dir() else images_by_stem(official, problems)
    for stem in sorted(set(paths) - set(expected)):
        problems.add("unlisted image", paths[stem], f"{official} has none of this name")
    if not expected:
        problems.add("missing image", pictures / _DISTRACTORS, "there is no distractor")
    return [image_list.add(f"{_DISTRACTORS}/{stem}", paths.get(stem)) for stem in sorted(expected)]
