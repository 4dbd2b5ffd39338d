"""The probes of a set searched in its gallery, of which some images may be missing."""

import dataclasses

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.ranks import search_gallery
from ddl_tf.protocols.gallery_set import NO_IMAGE, GallerySet


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
