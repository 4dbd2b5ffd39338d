"""Which vectors of an index stand for the images of a gallery: those of their people's templates, or their own."""

import numpy as np
import pandas as pd

from ddl_tf.serving.vector_index import VectorIndex

ENTRIES = ("templates", "images")
# The entry of an image that has no vector yet.
NEW = -1
# The share of an index's vectors that may be out of use. An approximate one is slower to make anew.
_UNUSED = {"exact": 0.0, "approximate": 0.25}


def drop_unused(index: VectorIndex, images: pd.DataFrame) -> tuple[VectorIndex, pd.DataFrame]:
    """Make an index anew if too many of its vectors stand for no image any more.

    Args:
        index: nothing can be taken out of it.
        images: `entry`, the number of the vector of each image, or -1.

    Returns:
        An index, and the images with the numbers that their vectors have in it.
    """
    entry = images["entry"].to_numpy()
    used = np.unique(entry[entry != NEW])
    if len(index) - len(used) <= _UNUSED[index.kind] * len(index):
        return index, images
    smaller = VectorIndex(index.dim, index.kind)
    smaller.add(index.vectors(used))
    return smaller, images.assign(entry=np.where(entry == NEW, NEW, np.searchsorted(used, entry)))


def add_entries(index: VectorIndex, images: pd.DataFrame, embeddings: np.ndarray, entries: str) -> pd.DataFrame:
    """Give vectors in the index to the images that have none.

    A template is the mean of the unit embeddings of all images of a person, scaled to unit norm.

    Args:
        index: vectors are added to it.
        images: `person`, `entry`; those of entry -1 have no vector yet: all of a person's, if entries are templates.
        embeddings: `[images, dim]` of unit norm.
        entries: `templates` or `images`.

    Returns:
        The images with all entries.
    """
    rows = np.flatnonzero(images["entry"] == NEW)
    if not len(rows):
        return images
    if entries == "images":
        group, vectors = np.arange(len(rows)), embeddings[rows]
    else:
        group, people = pd.factorize(images["person"].iloc[rows])
        sums = np.zeros([len(people), embeddings.shape[1]])
        np.add.at(sums, group, embeddings[rows])
        norms = np.linalg.norm(sums, axis=1, keepdims=True)
        vectors = sums / np.where(norms > 0, norms, 1)
    entry = images["entry"].to_numpy().copy()
    entry[rows] = len(index) + group
    index.add(vectors)
    return images.assign(entry=entry)
