"""IJB-S in its published layout: videos of surveillance cameras, photos for enrolment, and who is searched among whom.

The protocols name videos and photos, not the faces in them: those are crops that everybody cuts out, in the layout of
AdaFace.
"""

import dataclasses
import os
import re
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.importers.image_files import IMAGE_SUFFIXES, LazyImages, fingerprint_files
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.protocols.gallery_set import check_missing
from ddl_tf.protocols.number_table import read_number_table

# What the names of the files begin with: of the release, and of the same files before it.
PREFIXES = ("ijbs", "cs6")
# The folder of the crops below the root.
CROPS = "aligned_112"
# Protocol -> its list of probes, and the name of its galleries; those of several views have the probes of another one.
_SINGLE, _SURVEILLANCE, _UAV = "surveillance_to_single-booking", "surveillance_to_surveillance", "uav_to_single-booking"
SEARCHES = {
    "surveillance_to_single": (_SINGLE, "surveillance_to_single"),
    "surveillance_to_booking": (_SINGLE, "surveillance_to_booking"),
    "multiview_to_booking": (_SURVEILLANCE, "surveillance_to_booking"),
    "surveillance_to_surveillance": (_SURVEILLANCE, "surveillance_to_surveillance"),
    "uav_to_booking": (_UAV, "surveillance_to_booking"),
}
_VIDEO = re.compile(r"(videos_[^_]+)_.+")


@dataclasses.dataclass(frozen=True)
class TemplateSearch:
    """One protocol: which templates are searched in which two galleries, as places in `IJBS.subjects`."""

    name: str
    probes: np.ndarray
    galleries: Sequence[np.ndarray]


@dataclasses.dataclass(frozen=True)
class IJBS:
    """IJB-S: `images` are crops, read when they are asked for, with their names `keys`, such as `7/videos_5004_1.jpg`.

    `subjects` `[templates]` int is whom each template shows. `positions`, `templates` and `medias` `[members]` int are
    the images of the templates, in the order of the templates: a place in `images`, the template, and the photo or
    video; an image can be in several templates, and a template may have none.
    """

    name: str
    images: Sequence[bytes]
    keys: Sequence[str]
    subjects: np.ndarray
    positions: np.ndarray
    templates: np.ndarray
    medias: np.ndarray
    searches: Sequence[TemplateSearch]


def read_ijbs(root: str, images: Optional[str] = None, missing: str = "refuse") -> IJBS:
    """Read IJB-S.

    In `protocols/` below `root`, with `ijbs_` (or `cs6_`) before each name: `metadata.csv` (subject, file, and further
    columns), `surveillance_to_single-booking_probe.csv`, `surveillance_to_surveillance_probe.csv` and
    `uav_to_single-booking_probe.csv` (file), and in `galleries/` for both galleries `surveillance_to_single_g1.csv`,
    `surveillance_to_booking_g1.csv`, `surveillance_to_surveillance_g1.csv` (template, subject, file). Each has a header
    line. A file is `videos/5004.mp4` or `img/101146.jpg`. Everybody who is seen in a video is a template of it. Without
    the list of drones (`uav`) that protocol is left out, which is reported on stderr.

    The crops are in `images`, or in `aligned_112` below `root`: `<subject>/videos_5004_<frame>.jpg` and
    `<subject>/img_101146.jpg`.

    Args:
        root: the folder.
        images: the folder of the crops.
        missing: "refuse" a set with a photo, or a video of a person, of which there is no crop; or "count" them: such a
            template is pooled from what there is, and without any crop never found.

    Raises:
        ProblemsError: with all that is wrong: malformed lines, a file of a list that the metadata do not have, a
            subject twice in the galleries, a gallery or a list of probes that is empty, and missing crops.
        InputError: if there is no such set.

    References:
        Kalka et al., IJB-S: IARPA Janus Surveillance Video Benchmark, BTAS 2018. How the files are read:
        https://github.com/mk-minchul/AdaFace, validation_lq/PFE/ijbs.py (cs6_) and Kartik-3004/PETALface (ijbs_).
    """
    check_missing(missing)
    folder, prefix = _find_protocols(Path(root))
    crops = Path(images) if images is not None else Path(root) / CROPS
    if not crops.is_dir():
        raise InputError(f"{crops}: there is no such folder; give the crops of IJB-S, a folder for each subject")
    problems = ProblemList("ijbs")
    metadata = folder / f"{prefix}_metadata.csv"
    table = read_number_table(metadata, {"subject": "int", "file": "str"}, problems, ",", header=True)
    seen = [] if table is None else list(dict.fromkeys(zip(table["subject"].tolist(), table["file"].tolist())))
    templates = _Templates(seen, problems)
    probes = _read_probes(folder, prefix, templates, problems)
    galleries = _read_galleries(folder, prefix, templates, problems)
    found = _find_crops(crops, problems)
    for name, parts in galleries.items():
        for number, part in enumerate(parts, 1):
            if not templates.have_crops(part, found):
                path = folder / "galleries" / f"{prefix}_{name}_g{number}.csv"
                problems.add("empty gallery", path, "no template of it has a crop")
    if missing == "refuse":
        for subject, file in templates.without_crops(found):
            kind = "video without frames" if file.startswith("videos/") else "missing image"
            problems.add(kind, f"subject {subject}, {file}", f"there is no {_clip(subject, file)}* in {crops}")
    problems.refuse('complete the crops, or count what is missing as never found (missing "count")')
    searches = [
        TemplateSearch(name, np.array(probes[name]), [np.array(part) for part in galleries[gallery]])
        for name, (_, gallery) in SEARCHES.items()
        if name in probes
    ]
    return templates.made(crops, found, searches)


def _find_protocols(root: Path) -> tuple[Path, str]:
    for folder in (root / "protocols", root):
        for prefix in PREFIXES:
            if (folder / f"{prefix}_metadata.csv").is_file():
                return folder, prefix
    wanted = " or ".join(f"protocols/{prefix}_metadata.csv" for prefix in PREFIXES)
    raise InputError(f"{root}: there is no {wanted}; give the folder IJBS of the release")


def _clip(subject: int, file: str) -> str:
    """What the names of the crops of a subject in a file begin with: `7/videos_5004` of `videos/5004.mp4`."""
    return f"{subject}/{Path(file).with_suffix('').as_posix().replace('/', '_')}"


class _Templates:
    """The templates that the lists use, each once: a subject and the files that show it."""

    def __init__(self, seen: Sequence[tuple[int, str]], problems: ProblemList) -> None:
        self.problems = problems
        self.videos: dict[int, list[str]] = {}
        self.subjects_in: dict[str, list[int]] = {}
        for subject, file in seen:
            self.subjects_in.setdefault(file, []).append(subject)
            if file.startswith("videos/"):
                self.videos.setdefault(subject, []).append(file)
        self._numbers: dict[tuple[int, tuple[str, ...]], int] = {}

    def add(self, subject: int, files: Iterable[str]) -> int:
        """Add a template, if it is new, and give its place."""
        return self._numbers.setdefault((subject, tuple(files)), len(self._numbers))

    def seen_in(self, file: str, place: str) -> list[int]:
        """Whom a file shows by the metadata; a file that they do not have is a problem."""
        if file not in self.subjects_in:
            self.problems.add("unknown file", place, f"{file} is not in the metadata")
        return self.subjects_in.get(file, [])

    @property
    def subjects(self) -> list[int]:
        """Whom each template shows."""
        return [subject for subject, _ in self._numbers]

    def have_crops(self, templates: Sequence[int], found: dict[str, list[str]]) -> bool:
        """Whether any of some templates has a crop."""
        chosen = set(templates)
        used = (key for place, key in enumerate(self._numbers) if place in chosen)
        return any(_clip(subject, file) in found for subject, files in used for file in files)

    def without_crops(self, found: dict[str, list[str]]) -> list[tuple[int, str]]:
        """The files of a subject that templates use and that have no crop, each once."""
        used = dict.fromkeys((subject, file) for subject, files in self._numbers for file in files)
        return [(subject, file) for subject, file in used if _clip(subject, file) not in found]

    def made(self, crops: Path, found: dict[str, list[str]], searches: Sequence[TemplateSearch]) -> IJBS:
        """Make the set, with the images that a template uses."""
        clips = [[_clip(subject, file) for file in files] for subject, files in self._numbers]
        media_numbers = {clip: number for number, clip in enumerate(dict.fromkeys(c for part in clips for c in part))}
        keys: list[str] = []
        places: dict[str, range] = {}
        for clip in media_numbers:
            places[clip] = range(len(keys), len(keys) + len(found.get(clip, ())))
            keys += found.get(clip, ())
        members = [
            (position, template, media_numbers[clip])
            for template, part in enumerate(clips)
            for clip in part
            for position in places[clip]
        ]
        positions, templates, medias = np.array(members, np.int64).reshape(-1, 3).T
        paths = [os.path.join(crops, key) for key in keys]
        images = LazyImages(
            len(paths), lambda n: require_regular_file(Path(paths[n])).read_bytes(), lambda: fingerprint_files(paths)
        )
        return IJBS("ijbs", images, keys, np.array(self.subjects, np.int64), positions, templates, medias, searches)


def _read_probes(folder: Path, prefix: str, templates: _Templates, problems: ProblemList) -> dict[str, list[int]]:
    """The templates that each protocol searches for."""
    lists = {}
    for name in (_SINGLE, _SURVEILLANCE, _UAV):
        path = folder / f"{prefix}_{name}_probe.csv"
        if name == _UAV and not path.is_file():
            print(f"{path} is not there: no search for faces seen by drones", file=sys.stderr)
            continue
        table = read_number_table(path, {"file": "str"}, problems, ",", header=True)
        files = [] if table is None else list(dict.fromkeys(table["file"].tolist()))
        lists[name] = [
            templates.add(subject, [file]) for file in files for subject in templates.seen_in(file, str(path))
        ]
        if table is not None and not lists[name]:
            problems.add("no probes", path, "it names no file that shows anybody")
    shown = templates.subjects
    subjects = dict.fromkeys(shown[template] for template in lists[_SURVEILLANCE])
    several = [templates.add(subject, templates.videos[subject]) for subject in subjects if subject in templates.videos]
    probes = {name: lists[kind] for name, (kind, _) in SEARCHES.items() if kind in lists}
    return {**probes, "multiview_to_booking": several}


def _read_galleries(
    folder: Path, prefix: str, templates: _Templates, problems: ProblemList
) -> dict[str, list[list[int]]]:
    """The templates of both galleries of each kind; a subject stands in one of the two, once."""
    galleries: dict[str, list[list[int]]] = {}
    for name in dict.fromkeys(gallery for _, gallery in SEARCHES.values()):
        owner: dict[int, str] = {}
        for number in (1, 2):
            path = folder / "galleries" / f"{prefix}_{name}_g{number}.csv"
            kinds = {"template": "str", "subject": "int", "file": "str"}
            table = read_number_table(path, kinds, problems, ",", header=True)
            rows = [] if table is None else list(zip(table["subject"].tolist(), table["file"].tolist()))
            files: dict[int, dict[str, None]] = {}
            for subject, file in rows:
                if file.startswith("videos/") and subject not in templates.seen_in(file, str(path)):
                    problems.add("unknown file", path, f"{file} does not show subject {subject} by the metadata")
                files.setdefault(subject, {})[file] = None
            for subject, named in files.items():
                if name != "surveillance_to_booking" and len(named) > 1:
                    reason = f"{len(named)} files, where each template has one"
                    problems.add("duplicate gallery subject", f"{path}, subject {subject}", reason)
                if subject in owner:
                    problems.add(
                        "duplicate gallery subject", f"{path}, subject {subject}", f"{owner[subject]} has it too"
                    )
                owner.setdefault(subject, str(path))
            galleries.setdefault(name, []).append([templates.add(subject, named) for subject, named in files.items()])
    return galleries


def _find_crops(folder: Path, problems: ProblemList) -> dict[str, list[str]]:
    """The crops by what their names begin with, `7/videos_5004` or `7/img_101146`: their names below the folder."""
    found: dict[str, list[str]] = {}
    stems: dict[str, str] = {}
    for subject in sorted(entry.name for entry in os.scandir(folder) if entry.is_dir() and entry.name.isdecimal()):
        for name in sorted(os.listdir(folder / subject)):
            stem, suffix = os.path.splitext(name)
            if suffix.lower() not in IMAGE_SUFFIXES:
                continue
            key = f"{subject}/{name}"
            if stems.setdefault(f"{subject}/{stem}", key) != key:
                problems.add("duplicate image", folder / key, f"{stems[f'{subject}/{stem}']} has the same name")
            video = _VIDEO.fullmatch(stem)
            found.setdefault(f"{subject}/{video[1] if video else stem}", []).append(key)
    return found
