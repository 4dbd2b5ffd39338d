"""A set for identification: probes and a gallery, of which some images may be missing."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.importers.image_files import image_files
from ddl_tf.importers.problem_list import ProblemList

MISSING = ("refuse", "count")
# In place of the position of an image.
NO_IMAGE = -1


def check_missing(missing: str) -> None:
    """Refuse a word for what to do about missing images that is none of `MISSING`."""
    if missing not in MISSING:
        raise InputError(f"missing={missing!r}: use one of {', '.join(MISSING)}")


@dataclasses.dataclass(frozen=True)
class GallerySet:
    """A set for identification.

    `images` are encoded, read when they are asked for, and `keys` `[images]` name each. `gallery` and `probes` are int
    positions in `images`, -1 if the image is missing; `gallery_people` and `probe_people` int say whom each shows.
    `condition` is `[probes]` text, such as "d1"; "" if there is one condition only.
    """

    name: str
    images: Sequence[bytes]
    keys: Sequence[str]
    gallery: np.ndarray
    gallery_people: np.ndarray
    probes: np.ndarray
    probe_people: np.ndarray
    condition: np.ndarray


class ImageList:
    """The images of a set, collected; missing ones are `problems`, unless `missing` is "count".

    Without `check` an image need not exist, as for embeddings that were made elsewhere.
    """

    def __init__(self, problems: ProblemList, missing: str, check: bool) -> None:
        check_missing(missing)
        self._problems, self._refuse, self._check = problems, missing == "refuse", check
        self._paths: list[Path] = []
        self.keys: list[str] = []

    def add(self, key: str, path: Optional[Path]) -> int:
        """Add an image and its file (None if it is missing), and give its position, or `NO_IMAGE`."""
        if path is None and self._check:
            if self._refuse:
                self._problems.add("missing image", key, "the protocol names it")
            return NO_IMAGE
        self._paths.append(path if path is not None else Path(key))
        self.keys.append(key)
        return len(self._paths) - 1

    def images(self) -> Sequence[bytes]:
        """Give the images, each read when it is asked for."""
        return image_files(self._paths)
