"""The probes of a set searched in its gallery, of which some images may be missing."""

from typing import NamedTuple

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.ranks import search_gallery
from ddl_tf.protocols.gallery_set import NO_IMAGE, GallerySet


class Mates(NamedTuple):
    """The mates of each probe; an image that is missing is never found.

    `rank` `[probes]` int is that of the best mate, from 1; 0 = never found. `mate_ranks` are for each probe the ranks
    of the mates that are found, rising; `num_mates` `[probes]` int, how many mates the gallery should have.
    """

    rank: np.ndarray
    mate_ranks: list[np.ndarray]
    num_mates: np.ndarray


def find_mates(gallery_set: GallerySet, embeddings: np.ndarray) -> Mates:
    """Search the probes of a set in its gallery by embeddings `[images, dim]` of unit norm, as `search_gallery`."""
    if len(embeddings) != len(gallery_set.images):
        raise InputError(
            f"{gallery_set.name}: {len(embeddings)} embeddings for {len(gallery_set.images)} images; embed this set"
        )
    searched = np.flatnonzero(gallery_set.probes != NO_IMAGE)
    enrolled = gallery_set.gallery != NO_IMAGE
    search = search_gallery(
        embeddings[gallery_set.probes[searched]],
        embeddings[gallery_set.gallery[enrolled]],
        gallery_set.probe_people[searched],
        gallery_set.gallery_people[enrolled],
    )
    mate_ranks = [np.zeros(0, np.int64)] * len(gallery_set.probes)
    for probe, ranks in zip(searched, search.mate_ranks):
        mate_ranks[probe] = ranks
    rank = np.zeros(len(gallery_set.probes), np.int64)
    rank[searched] = search.rank
    people = np.sort(gallery_set.gallery_people)
    first, end = (np.searchsorted(people, gallery_set.probe_people, side) for side in ("left", "right"))
    return Mates(rank, mate_ranks, end - first)


def count_missing(gallery_set: GallerySet) -> dict[str, int]:
    """Count the `missing_probes` and the `missing_gallery` images of a set."""
    return {
        "missing_probes": int(np.sum(gallery_set.probes == NO_IMAGE)),
        "missing_gallery": int(np.sum(gallery_set.gallery == NO_IMAGE)),
    }
