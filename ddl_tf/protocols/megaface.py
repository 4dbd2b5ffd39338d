"""MegaFace challenge 1 with FaceScrub probes: the lists of the devkit and of InsightFace's test pack."""

import dataclasses
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.image_files import image_files
from ddl_tf.importers.problem_list import ProblemList
from ddl_tf.importers.text_list import quoted, read_text_list
from ddl_tf.protocols.feature_files import FeatureFiles

_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp")


@dataclasses.dataclass(frozen=True)
class MegaFace:
    """The probes `Person/name.png`, whom each shows (`people`), and the distractors `a1/a2/name.jpg` of the lists.

    `noisy_probes` and `noisy_distractors` are bool: whether one shows somebody else, or a probe's person.
    """

    name: str
    probes: Sequence[str]
    people: np.ndarray
    noisy_probes: np.ndarray
    distractors: Sequence[str]
    noisy_distractors: np.ndarray

    def clean_probes(self) -> np.ndarray:
        """The positions of the probes that are not noisy."""
        return np.flatnonzero(~self.noisy_probes)

    def clean_distractors(self) -> np.ndarray:
        """The positions of the distractors that are not noisy."""
        return np.flatnonzero(~self.noisy_distractors)

    def sizes(self) -> dict[int, int]:
        """The sizes at which rank-1 is plotted: 10, 100, ... and all -> how many distractors of these are clean."""
        powers = [10**power for power in range(1, 10) if 10**power < len(self.distractors)]
        return {size: int(np.sum(~self.noisy_distractors[:size])) for size in [*powers, len(self.distractors)]}

    def counts(self) -> dict[str, int]:
        """The counts of the lists, for the result."""
        return {
            "listed_probes": len(self.probes),
            "noisy_probes": int(self.noisy_probes.sum()),
            "listed_distractors": len(self.distractors),
            "noisy_distractors": int(self.noisy_distractors.sum()),
        }


def read_megaface(
    facescrub_list: str,
    megaface_list: str,
    facescrub_noises: Optional[str] = None,
    megaface_noises: Optional[str] = None,
    distractors: Optional[int] = None,
) -> MegaFace:
    """Read the lists of MegaFace challenge 1: images, noisy ones (None: none is), all or the first `distractors`.

    A list of images has a relative path on each line, as InsightFace's test pack, or is a JSON file of the devkit's
    `templatelists`: `{"path": [...]}`, of probes with `"id": [...]`, whom they show (else their folder says so). The
    last two parts of a path name a probe, the last three a distractor.

    A list of noises is that of InsightFace's `remove_noises.py`: lines that begin with `#` are left out, the others are
    `Person_123.png` of probes, and `a1/a2/name.jpg` (or that after a tab) of distractors. The ending (`.png`) and
    spaces for underscores make no difference.
    """
    problems = ProblemList("megaface")
    probe_paths, people = _read_list(facescrub_list)
    distractor_paths, _ = _read_list(megaface_list)
    if distractors is not None and not 0 < distractors <= len(distractor_paths):
        lists = f"{megaface_list} lists {len(distractor_paths):,}"
        raise InputError(f"{distractors:,} distractors, where {lists}: take 1 to as many")
    probes = _keys(facescrub_list, probe_paths, 2, problems)
    distractor_keys = _keys(megaface_list, distractor_paths[:distractors], 3, problems)
    problems.refuse("get the list anew, or correct it")
    noisy_names, noisy_keys = _read_noises(facescrub_noises), _read_noises(megaface_noises)
    return MegaFace(
        "megaface",
        probes,
        np.array(people if people is not None else [key.split("/")[0] for key in probes]),
        np.array([_noise_name(key.split("/")[-1]) in noisy_names for key in probes], bool),
        distractor_keys,
        np.array([_noise_name(key) in noisy_keys for key in distractor_keys], bool),
    )


def _read_list(path: str) -> tuple[list[str], Optional[list[str]]]:
    """The paths of a list, and its ids if it has them."""
    lines = read_text_list(path)
    text = "\n".join(lines)
    if not text.lstrip().startswith("{"):
        paths, ids = [line.strip() for line in lines if line.strip()], None
    else:
        try:
            content = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise InputError(f"{path}: not a whole JSON file ({error}); get it anew") from None
        paths, ids = content.get("path"), content.get("id")
        for column in (paths, [] if ids is None else ids):
            if not isinstance(column, list) or not all(isinstance(cell, str) for cell in column):
                raise InputError(f'{path}: not {{"path": [...], "id": [...]}} of text; is it of the templatelists?')
        if ids is not None and len(ids) != len(paths):
            raise InputError(f"{path}: {len(ids):,} ids for {len(paths):,} paths; get it anew")
    if not paths:
        raise InputError(f"{path}: there are no images in it; is it a list?")
    return paths, ids


def _keys(list_file: str, paths: Sequence[str], num_parts: int, problems: ProblemList) -> list[str]:
    """The names of images: the last parts of their paths."""
    keys = []
    for number, path in enumerate(paths, 1):
        parts = path.split("/")[-num_parts:]
        if len(parts) < num_parts or not all(parts):
            reason = f"{quoted(path)} has not the {num_parts} parts it needs"
            problems.add("bad path", f"{list_file}, image {number}", reason)
        keys.append("/".join(parts))
    for key, count in Counter(keys).items():
        if count > 1:
            problems.add("duplicate image", f"{list_file}, {key}", f"listed {count} times")
    return keys


def _noise_name(name: str) -> str:
    """A name without what kind of image it is: of a name without that, all of it, also where it has a dot."""
    stem, suffix = os.path.splitext(name)
    return (stem if suffix.lower() in _SUFFIXES else name).replace(" ", "_")


def _read_noises(path: Optional[str]) -> set[str]:
    if path is None:
        return set()
    lines = [line.strip() for line in read_text_list(path) if line.strip() and not line.startswith("#")]
    return {_noise_name(line.split("\t")[1 if "\t" in line else 0]) for line in lines}


def feature_files(megaface: MegaFace, features: str, suffix: str) -> tuple[FeatureFiles, FeatureFiles]:
    """The features of probes and distractors in `facescrub/` and `megaface/`, in files named as images and a suffix."""
    probes = FeatureFiles(Path(features) / "facescrub", megaface.probes, suffix)
    return probes, FeatureFiles(Path(features) / "megaface", megaface.distractors, suffix)


@dataclasses.dataclass(frozen=True)
class FaceImages:
    """Images of faces to embed, called `keys` in their list, and `[images]` int `positions` in it."""

    name: str
    images: Sequence[bytes]
    keys: Sequence[str]
    positions: np.ndarray


def megaface_images(
    megaface: MegaFace, facescrub_images: str, megaface_images: str, missing: str = "refuse", check_images: bool = True
) -> tuple[FaceImages, FaceImages]:
    """Find the aligned images of the probes and of the distractors, all but noisy ones, in the folders of both.

    A probe without an image is refused, or with `missing="count"` never found (it is left out here). A distractor
    without an image is always refused, with a ProblemsError: it would make the task easier.
    """
    problems = ProblemList(megaface.name)
    images = []
    for name, folder, keys, positions, allowed in (
        ("megaface_probes", facescrub_images, megaface.probes, megaface.clean_probes(), missing == "count"),
        ("megaface_distractors", megaface_images, megaface.distractors, megaface.clean_distractors(), False),
    ):
        paths = {int(position): Path(folder) / keys[position] for position in positions}
        for position, path in list(paths.items()):
            if check_images and not path.is_file():
                del paths[position]
                if not allowed:
                    problems.add("missing image", path, "named by the list")
        chosen = [keys[position] for position in paths]
        images.append(FaceImages(name, image_files(list(paths.values())), chosen, np.array(list(paths), np.int64)))
    problems.refuse("complete the folders, or name lists without them")
    return images[0], images[1]
