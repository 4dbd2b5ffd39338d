"""A set for identification: probes and a gallery, of which some images may be missing."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Optional

import numpy as np

from ddl_tf.data.image_files import image_files
from ddl_tf.data.problem_list import ProblemList
from ddl_tf.errors import InputError
from ddl_tf.evaluation.identification import search_gallery

MISSING = ("refuse", "count")
# In place of the position of an image.
NO_IMAGE = -1


@dataclasses.dataclass(frozen=True)
class GallerySet:
    """A set for identification.

    Attributes:
        name: for reports.
        images: the encoded images, read when they are asked for.
        keys: `[images]` what each image is called.
        gallery: `[gallery]` int, positions in `images`; -1 where the image is missing.
        gallery_people: `[gallery]` int, whom each entry shows.
        probes: `[probes]` int, positions in `images`; -1 where the image is missing.
        probe_people: `[probes]` int, whom each probe shows.
        condition: `[probes]` text, what reports tell apart, such as "d1"; "" where there is one condition only.
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
    """Collects the images of a set.

    Args:
        problems: takes the missing images, unless they are to be counted.
        missing: what to do about missing images: "refuse" or "count".
        check: whether an image must be there; without, every one that is named counts as being there, as for
            embeddings that were made elsewhere.

    Raises:
        InputError: if `missing` is another word.
    """

    def __init__(self, problems: ProblemList, missing: str, check: bool) -> None:
        if missing not in MISSING:
            raise InputError(f"missing={missing!r}: use one of {', '.join(MISSING)}")
        self._problems, self._refuse, self._check = problems, missing == "refuse", check
        self._paths: list[Path] = []
        self.keys: list[str] = []

    def add(self, key: str, path: Optional[Path]) -> int:
        """Add an image.

        Args:
            key: what it is called.
            path: its file; None if it is missing.

        Returns:
            Its position, or `NO_IMAGE`.
        """
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


@dataclasses.dataclass(frozen=True)
class Found:
    """What the search of the probes of a set found; an image that is missing is never found.

    Attributes:
        rank: `[probes]` int, of the best mate, from 1; 0 = never found.
        mate_ranks: for each probe the ranks of the mates that are found, rising.
        num_mates: `[probes]` int, how many mates the gallery should have.
    """

    rank: np.ndarray
    mate_ranks: list[np.ndarray]
    num_mates: np.ndarray


def find_mates(gallery_set: GallerySet, embeddings: np.ndarray) -> Found:
    """Search the probes of a set in its gallery.

    Args:
        gallery_set: the set.
        embeddings: `[images, dim]` of unit norm, in the order of the set's images.

    Returns:
        The ranks; see `search_gallery` for ties.

    Raises:
        InputError: if there is not one embedding for each image, or one is not finite.
    """
    if len(embeddings) != len(gallery_set.images):
        raise InputError(
            f"{gallery_set.name}: {len(embeddings)} embeddings for {len(gallery_set.images)} images; embed this set"
        )
    there = np.flatnonzero(gallery_set.probes != NO_IMAGE)
    enrolled = gallery_set.gallery != NO_IMAGE
    search = search_gallery(
        embeddings[gallery_set.probes[there]],
        embeddings[gallery_set.gallery[enrolled]],
        gallery_set.probe_people[there],
        gallery_set.gallery_people[enrolled],
    )
    mate_ranks = [np.zeros(0, np.int64)] * len(gallery_set.probes)
    for probe, ranks in zip(there, search.mate_ranks):
        mate_ranks[probe] = ranks
    rank = np.zeros(len(gallery_set.probes), np.int64)
    rank[there] = search.rank
    people, counts = np.unique(gallery_set.gallery_people, return_counts=True)
    mates = dict(zip(people.tolist(), counts.tolist()))
    return Found(rank, mate_ranks, np.array([mates[person] for person in gallery_set.probe_people.tolist()]))


def count_missing(gallery_set: GallerySet) -> dict[str, int]:
    """Count the images that a set should have and has not.

    Args:
        gallery_set: the set.

    Returns:
        `missing_probes` and `missing_gallery`.
    """
    return {
        "missing_probes": int(np.sum(gallery_set.probes == NO_IMAGE)),
        "missing_gallery": int(np.sum(gallery_set.gallery == NO_IMAGE)),
    }
