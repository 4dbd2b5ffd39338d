"""Pictures that are in a set more than once: the same pixels, or the same photo stored, scaled or mirrored anew."""

from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.spatial import cKDTree

from ddl_tf.common.progress import Progress

# Candidates are found by so many principal components of the thumbnails, which follow from a sample of them.
_COMPONENTS, _SAMPLE = 12, 50_000
# Images that are searched for, and candidates that are compared, at a time.
_BLOCK, _CANDIDATES = 8192, 2**16
# A thumbnail with a smaller deviation, in grey levels, is of one colour: whatever it correlates with is chance.
_LEAST_DEVIATION = 2.0

_PAIR_TYPES = {"first": np.int64, "second": np.int64, "similarity": np.float32, "mirrored": bool}


class Copies(NamedTuple):
    """Which images show one picture.

    Attributes:
        same: `[images]` int64, the first image with the same pixels; the image itself if none was before it.
        near: pairs of other images whose thumbnails are alike: `first` < `second`, their `similarity`, and whether one
            of them is `mirrored`.
    """

    same: np.ndarray
    near: pd.DataFrame


def find_copies(digests: np.ndarray, thumbnails: np.ndarray, least: float) -> Copies:
    """Find the images that are one picture: the same pixels, or thumbnails that correlate, one mirrored or not.

    The search is exact. Distances by the first principal components are never longer than those of the thumbnails, so
    that a k-d tree of these few numbers has every candidate.

    Args:
        digests: `[images]`, equal where the pixels are.
        thumbnails: `[images, side, side]` grey levels.
        least: the correlation from which on two thumbnails are alike, below 1.

    Example:
        >>> left = np.tile(np.array([0, 9, 9, 9], np.uint8), [4, 1])
        >>> find_copies(np.array([1, 2]), np.stack([left, left[:, ::-1]]), 0.98).near
           first  second  similarity  mirrored
        0      0       1         1.0      True
    """
    _, first, inverse = np.unique(digests, return_index=True, return_inverse=True)
    images = np.sort(first)
    images = images[thumbnails[images].std(axis=(1, 2)) >= _LEAST_DEVIATION]
    if not len(images):
        return Copies(first[inverse], pd.DataFrame(columns=list(_PAIR_TYPES)).astype(_PAIR_TYPES))
    sample = _unit(thumbnails[images[:: len(images) // _SAMPLE + 1]])
    components = np.linalg.eigh(sample.T @ sample)[1][:, -_COMPONENTS:]
    blocks = [images[start : start + _BLOCK] for start in range(0, len(images), _BLOCK)]
    tree = cKDTree(np.concatenate([_unit(thumbnails[block]) @ components for block in blocks]))
    radius = np.sqrt(2 - 2 * least) + 1e-6
    columns: dict[str, list[np.ndarray]] = {name: [np.empty(0, kind)] for name, kind in _PAIR_TYPES.items()}
    with Progress("compare thumbnails", 2 * len(images)) as progress:
        for mirrored in (False, True):
            for block in blocks:
                unit = _unit(thumbnails[block][:, :, ::-1] if mirrored else thumbnails[block])
                # Of single precision, the place of each candidate in the block and among all.
                found = cKDTree(unit @ components).sparse_distance_matrix(tree, radius, output_type="ndarray")
                here, there = found["i"], images[found["j"]]
                later = there > block[here]
                here, there = here[later], there[later]
                for start in range(0, len(here), _CANDIDATES):
                    part = slice(start, start + _CANDIDATES)
                    similarity = np.einsum("ij,ij->i", unit[here[part]], _unit(thumbnails[there[part]]))
                    alike = similarity >= least
                    pairs = (block[here[part]], there[part], similarity, np.full(len(similarity), mirrored))
                    for values, new in zip(columns.values(), pairs):
                        values.append(new[alike])
                progress.advance(len(block))
    near = pd.DataFrame({name: np.concatenate(values) for name, values in columns.items()}).astype(_PAIR_TYPES)
    # Of a symmetric picture both ways are alike.
    near = near.sort_values("similarity", ascending=False).drop_duplicates(["first", "second"])
    return Copies(first[inverse], near.sort_values(["first", "second"], ignore_index=True))


def _unit(thumbnails: np.ndarray) -> np.ndarray:
    """Thumbnails as rows of mean 0 and norm 1, whose products are correlations."""
    rows = thumbnails.reshape(len(thumbnails), -1).astype(np.float32)
    rows -= rows.mean(axis=1, keepdims=True)
    return rows / np.linalg.norm(rows, axis=1, keepdims=True)


def choose_originals(copies: Copies, rank: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Choose which image of each picture stays.

    Images are taken by their rank; one stays if it is like none that stays already.

    Args:
        copies: which images show one picture.
        rank: `[images]`, lower is better; of the same rank, the earlier image.

    Returns:
        `[images]` int64, the image that stays instead of this one, -1 for one that stays; and `[images]` float32, their
        similarity.
    """
    original, similarity = np.full(len(rank), -1), np.full(len(rank), np.nan, np.float32)
    partners: dict[int, list[tuple[float, int]]] = {}
    for first, second, alike in copies.near[["first", "second", "similarity"]].itertuples(index=False):
        partners.setdefault(first, []).append((alike, second))
        partners.setdefault(second, []).append((alike, first))
    for image in sorted(partners, key=lambda image: (rank[image], image)):
        # Who has a partner that stays is a copy of the most similar one.
        for alike, partner in sorted(partners[image], key=lambda pair: (-pair[0], pair[1])):
            if original[partner] < 0 and (rank[partner], partner) < (rank[image], image):
                original[image], similarity[image] = partner, alike
                break
    again = np.flatnonzero(copies.same != np.arange(len(rank)))
    first = copies.same[again]
    original[again] = np.where(original[first] < 0, first, original[first])
    similarity[again] = np.where(original[first] < 0, 1, similarity[first])
    return original, similarity
