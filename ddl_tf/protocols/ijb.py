"""IJB-B and IJB-C, as InsightFace distributes them: loose crops, landmarks, templates, pairs and galleries."""

import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np
import pandas as pd
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.images.alignment import cut_face
from ddl_tf.images.landmarks import checked_lines, list_problem
from ddl_tf.images.pillow_images import encode_png, load_image
from ddl_tf.importers.image_files import LazyImages, fingerprint_files
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.gallery_set import check_missing
from ddl_tf.protocols.number_table import read_number_table

GALLERIES = {"ijbb": ("S1", "S2"), "ijbc": ("G1", "G2")}
_LANDMARKS = [f"{axis}{point}" for point in range(1, 6) for axis in "xy"]
# The columns of the lists of faces, and of their landmarks.
_FACE = {"image": "str", "template": "int", "media": "int"}
_POINTS = {"image": "str", **dict.fromkeys([*_LANDMARKS, "score"], "float")}


@dataclasses.dataclass(frozen=True)
class TemplatePairs:
    """The pairs of 1:1 verification: `[pairs]` int32 numbers of templates, and whether both are one subject."""

    first: np.ndarray
    second: np.ndarray
    same: np.ndarray


@dataclasses.dataclass(frozen=True)
class TemplateList:
    """The templates of a gallery ("G1", "G2", "S1", "S2") or the "probes".

    `templates` `[templates]` int32 are their numbers, rising, each once, `subjects` `[templates]` int32 whom they show.
    """

    name: str
    templates: np.ndarray
    subjects: np.ndarray


@dataclasses.dataclass(frozen=True)
class IJB:
    """IJB-B or IJB-C: `images` aligned, PNG of 112 px, made when they are asked for, with their file names `keys`.

    `templates` and `medias` `[images]` int32 are the template, and the still image or video, of each; `scores`
    `[images]` float32 the detector's. `pairs` (verification), two `galleries` and `probes` (identification) are None or
    empty if they are not listed. `missing_images` are listed files that do not exist; only with `missing="count"`.
    """

    name: str
    images: Sequence[bytes]
    keys: Sequence[str]
    templates: np.ndarray
    medias: np.ndarray
    scores: np.ndarray
    pairs: Optional[TemplatePairs]
    galleries: Sequence[TemplateList]
    probes: Optional[TemplateList]
    missing_images: Sequence[str] = ()


def read_ijb(root: str, check_images: bool = True, missing: str = "refuse") -> IJB:
    """Read IJB-B or IJB-C in the layout of InsightFace; the files say which of both.

    In `meta/`: `ijbc_face_tid_mid.txt` (image, template, media), `ijbc_name_5pts_score.txt` (image, landmarks,
    detection score), `ijbc_template_pair_label.txt` (verification), `ijbc_1N_gallery_G1.csv`, `_G2.csv` and
    `ijbc_1N_probe_mixed.csv` (identification); for IJB-B `ijbb`, `S1` and `S2`. The images are in `loose_crop/`.
    Verification or identification may be absent, which is reported on stderr.

    Args:
        root: the folder.
        check_images: whether every image must exist.
        missing: what to do with images that do not exist, and with templates that have no image. "refuse" the set; or
            "count" them: such images are left out of `images`, and a pair or probe of such a template is never accepted
            or found, as NIST counts a failure to enrol.

    Raises:
        ProblemsError: with all that is wrong: malformed lines, files of different length or order, a face twice in a
            template, a template without images or with two subjects, a subject twice in the galleries, a probe whose
            subject is in no gallery, missing images.
        InputError: if there is no such set, or, with `check_images`, more than a third of the landmarks cannot be those
            of a face: their order, scale or axes are others.

    References:
        https://github.com/deepinsight/insightface, recognition/_evaluation_/ijb
    """
    check_missing(missing)
    name = _which(Path(root))
    problems = ProblemList(name)
    meta = Path(root) / "meta"
    faces = read_number_table(meta / f"{name}_face_tid_mid.txt", _FACE, problems)
    points = read_number_table(meta / f"{name}_name_5pts_score.txt", _POINTS, problems)
    pairs = _read_pairs(meta / f"{name}_template_pair_label.txt", problems)
    galleries, probes = _read_identification(meta, name, problems)
    if pairs is None and probes is None and not problems.problems:
        raise InputError(f"{meta}: neither pairs nor galleries and probes of {name} are there; complete the folder")
    if faces is None or points is None:
        problems.refuse("get the files anew")
        raise AssertionError("a table is missing without a problem")
    names, templates, medias = faces["image"], faces["template"], faces["media"]
    _check_faces(meta, name, faces, points["image"], problems)
    paths = np.array([os.path.join(root, "loose_crop", image) for image in names], object)
    exists = _existing(paths.tolist()) if check_images else np.full(len(names), True)
    if missing == "refuse":
        for image in names[~exists]:
            problems.add("missing image", image, f"not in {Path(root) / 'loose_crop'}")
        _check_templates(templates, pairs, galleries, probes, problems)
    _check_subjects(galleries, probes, problems)
    complete = 'complete the folder, or count missing images and templates as failures to enrol (missing "count")'
    problems.refuse("get the files anew" if missing == "count" else complete)
    kept, paths = np.flatnonzero(exists), paths[exists]
    landmarks = np.column_stack([points[column] for column in _LANDMARKS]).reshape(-1, 5, 2)[kept]
    if check_images:
        _check_landmarks(paths, landmarks, meta / f"{name}_name_5pts_score.txt")
    images, scores = _aligned_images(paths, landmarks), points["score"][kept]
    keys, gone = names[kept].tolist(), names[~exists].tolist()
    return IJB(name, images, keys, templates[kept], medias[kept], scores, pairs, galleries, probes, gone)


def _which(root: Path) -> str:
    names = [name for name in GALLERIES if (root / "meta" / f"{name}_face_tid_mid.txt").is_file()]
    if len(names) == 1:
        return names[0]
    if names:
        raise InputError(f"{root / 'meta'}: holds files of {' and '.join(names)}; keep each set in its own folder")
    missing = "neither meta/ijbb_face_tid_mid.txt nor meta/ijbc_face_tid_mid.txt is there"
    raise InputError(f"{root}: {missing}; name the folder IJBB or IJBC of InsightFace's IJB_release")


def _read_pairs(path: Path, problems: ProblemList) -> Optional[TemplatePairs]:
    if not path.is_file():
        print(f"{path} is not there: no verification", file=sys.stderr)
        return None
    table = read_number_table(path, {"template 1": "int", "template 2": "int", "label": "int"}, problems)
    if table is None:
        return None
    label = table["label"]
    wrong = np.flatnonzero((label != 0) & (label != 1))
    if len(wrong):
        reason = f"{len(wrong)} labels are neither 0 nor 1, the first is {label[wrong[0]]}"
        problems.add("wrong label", f"{path}, pair {wrong[0] + 1}", reason)
    return TemplatePairs(table["template 1"], table["template 2"], label == 1)


def _read_identification(
    meta: Path, name: str, problems: ProblemList
) -> tuple[list[TemplateList], Optional[TemplateList]]:
    paths = {gallery: meta / f"{name}_1N_gallery_{gallery}.csv" for gallery in GALLERIES[name]}
    paths["probes"] = meta / f"{name}_1N_probe_mixed.csv"
    absent = [path for path in paths.values() if not path.is_file()]
    if len(absent) == len(paths):
        print(f"{', '.join(path.name for path in absent)} are not in {meta}: no identification", file=sys.stderr)
        return [], None
    for path in absent:
        problems.add("missing file", path, "the other lists of identification are there")
    lists = [_read_list(user, path, problems) for user, path in paths.items() if path not in absent]
    complete = [part for part in lists if part is not None]
    if len(complete) < len(paths):
        return [], None
    return complete[:-1], complete[-1]


def _read_list(name: str, path: Path, problems: ProblemList) -> Optional[TemplateList]:
    """One line for each image: a template is there as often as it has images."""
    table = read_number_table(path, {"template": "int", "subject": "int"}, problems, separator=",", header=True)
    if table is None:
        return None
    templates, first, inverse = np.unique(table["template"], return_index=True, return_inverse=True)
    subjects = table["subject"][first]
    for template in np.unique(templates[inverse[table["subject"] != subjects[inverse]]]):
        problems.add("template of two subjects", f"{path}, template {template}", "it is listed with several")
    return TemplateList(name, templates, subjects)


def _check_faces(
    meta: Path, name: str, faces: dict[str, np.ndarray], images: np.ndarray, problems: ProblemList
) -> None:
    place = meta / f"{name}_name_5pts_score.txt"
    if len(images) != len(faces["image"]):
        problems.add("wrong count", place, f"{len(images)} faces, but {len(faces['image'])} in {name}_face_tid_mid.txt")
    else:
        different = np.flatnonzero(images != faces["image"])
        if len(different):
            line = different[0]
            reason = f"{len(different)} images are others than in {name}_face_tid_mid.txt, the first {images[line]!r}"
            problems.add("wrong image", f"{place}, face {line + 1}", f"{reason} instead of {faces['image'][line]!r}")
    if not len(faces["image"]):
        problems.add("wrong count", meta / f"{name}_face_tid_mid.txt", "there are no faces in it")
    table = pd.DataFrame(faces)
    for image, template, _ in table[table.duplicated()].drop_duplicates().itertuples(index=False):
        problems.add("duplicate face", image, f"it is listed more than once in template {template}")


def _check_templates(
    enrolled: np.ndarray,
    pairs: Optional[TemplatePairs],
    galleries: Sequence[TemplateList],
    probes: Optional[TemplateList],
    problems: ProblemList,
) -> None:
    users = [(part.name, part.templates) for part in [*galleries, *([probes] if probes else [])]]
    if pairs:
        # The numbers of millions of pairs mostly stand in runs.
        runs = [part[np.append(True, part[1:] != part[:-1])[: len(part)]] for part in (pairs.first, pairs.second)]
        users += [("pairs", np.union1d(*runs))]
    known = np.unique(enrolled)
    for user, templates in users:
        for template in np.setdiff1d(templates, known).tolist():
            problems.add("template without images", f"template {template}", f"used by the {user}")


def _check_subjects(galleries: Sequence[TemplateList], probes: Optional[TemplateList], problems: ProblemList) -> None:
    if not probes:
        return
    owner: dict[int, str] = {}
    for gallery in galleries:
        for template, subject in zip(gallery.templates.tolist(), gallery.subjects.tolist()):
            place = f"template {template} of gallery {gallery.name}"
            if subject in owner:
                problems.add("duplicate gallery subject", f"subject {subject}", f"both {owner[subject]} and {place}")
            owner.setdefault(subject, place)
    for template, subject in zip(probes.templates.tolist(), probes.subjects.tolist()):
        if subject not in owner:
            problems.add("probe without mate", f"template {template}", f"its subject {subject} is in no gallery")


def _existing(paths: Sequence[str]) -> np.ndarray:
    """Which files exist; a folder is listed once instead of asking for half a million files."""
    existing: set[str] = set()
    for folder in {os.path.dirname(path) for path in paths}:
        if os.path.isdir(folder):
            existing.update(entry.path for entry in os.scandir(folder))
    return np.array([path in existing for path in paths], bool)


def _load(path: str) -> Image.Image:
    require_regular_file(path)
    return load_image(Path(path).read_bytes())


def _check_landmarks(paths: Sequence[str], landmarks: np.ndarray, file: Path) -> None:
    """Check the landmarks of some images; those that cannot be read are named when they are embedded."""
    items = []
    for line in checked_lines(len(paths)).tolist():
        try:
            size = _load(paths[line]).size
        except ValueError:
            continue
        items.append((landmarks[line], size))
    problem = list_problem(items)
    if problem:
        raise InputError(f"{file}: {problem}")


def _aligned_images(paths: Sequence[str], landmarks: np.ndarray) -> LazyImages:
    def read(index: int) -> bytes:
        try:
            face = cut_face(_load(paths[index]), landmarks[index])
        except ValueError as error:  # an InputError of bad landmarks is one too
            raise InputError(f"{paths[index]}: cannot be aligned ({error}); get it anew") from None
        return encode_png(Image.fromarray(face))

    points = np.ascontiguousarray(landmarks).tobytes()
    return LazyImages(len(paths), read, lambda: fingerprint_files(paths, points))
