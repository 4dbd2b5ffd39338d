"""Templates: the features of several images and videos of one person, pooled; and similarities of pairs of them."""

from typing import Optional

import numpy as np
from scipy import sparse

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress

# The similarity of a pair of which one template has no image: below every cosine, so that it is accepted last.
NEVER = -2.0
# Images, and cells of a product of features, that are in memory at a time.
_IMAGES, _CELLS, _PAIRS = 8192, 2**23, 8192
# A product of all features of both sides costs less than a gather of each pair's from this share of its cells on.
_DENSE = 1 / 32


def template_features(
    views: np.ndarray,
    templates: np.ndarray,
    medias: np.ndarray,
    scores: np.ndarray,
    flip: bool = True,
    use_norms: bool = True,
    use_scores: bool = True,
    positions: Optional[np.ndarray] = None,
) -> tuple[np.ndarray, np.ndarray]:
    """Pool the embeddings of images into one feature for each template, as InsightFace's `ijb_11.py` does.

    `views` are `[images, views, dim]`, as the model gave them; `templates` and `medias` `[images]` int, the template
    and the still image or video of each; `scores` `[images]`, 0..1. With `positions` in `views`, these are `[members]`:
    an image can then be in several templates. The embedding of an image is the sum of its two
    views (`flip`), divided by its norm unless `use_norms`, times its detection score (`use_scores`). A media of a
    template is the mean of its frames, a template the sum of its medias. Images are read in order, a few thousand at a
    time, so that `views` may be a memory map.

    Gives `[templates, dim]` float64 of unit norm (an all-zero feature stays zero), and the `[templates]` numbers,
    rising.
    """
    count = len(views) if positions is None else len(positions)
    if not count == len(templates) == len(medias) == len(scores):
        counts = f"{len(templates)} templates, {len(medias)} medias and {len(scores)} scores"
        raise InputError(f"{count} embeddings for {counts} of images; embed the images of this very set")
    if flip and views.shape[1] < 2:
        raise InputError(f"{views.shape[1]} view of each image, where flip adds a second; embed with both, or no flip")
    ids, template = np.unique(templates, return_inverse=True)
    media_numbers, media = np.unique(medias, return_inverse=True)
    _, media_of_template, frames = np.unique(
        template * len(media_numbers) + media, return_inverse=True, return_counts=True
    )
    # The mean over a media and the sum over medias are one weighted sum over images.
    weight = 1 / frames[media_of_template]
    if use_scores:
        weight *= scores
    features = np.zeros([len(ids), views.shape[2]])
    with Progress("templates", count) as progress:
        for start in range(0, count, _IMAGES):
            part = slice(start, min(start + _IMAGES, count))
            places = np.arange(start, part.stop) if positions is None else positions[part]
            rows = image_features(views[part if positions is None else places], places, flip, use_norms)
            seen, column = np.unique(template[part], return_inverse=True)
            pooling = sparse.csr_matrix((weight[part], (column, np.arange(len(column)))))
            features[seen] += pooling @ rows
            progress.advance(len(rows))
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    return features / np.where(norms > 0, norms, 1), ids


def image_features(views: np.ndarray, places: np.ndarray, flip: bool, use_norms: bool) -> np.ndarray:
    """Make the features of images from their `[images, views, dim]`: `[images, dim]` float64.

    They are the sum of both views (`flip`), scaled to unit norm unless `use_norms`; an all-zero one stays zero.
    `places` `[images]` are their numbers, for the message about one that is not finite.
    """
    rows = views[:, 0].astype(np.float64)
    if flip:
        rows += views[:, 1]
    finite = np.isfinite(rows).all(axis=1)
    if not finite.all():
        where = f"the model's embedding of image {int(places[np.argmin(finite)])}"
        raise InputError(f"{where} is not finite; use a checkpoint from before training diverged")
    if not use_norms:
        norms = np.linalg.norm(rows, axis=1, keepdims=True)
        rows /= np.where(norms > 0, norms, 1)
    return rows


def template_similarities(features: np.ndarray, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Compute the cosine similarity of `[pairs]` of templates, in float64; `NEVER` (-2) if a template has no image.

    `first` and `second` are positions in `features` `[templates, dim]` of unit norm, -1 without images. If the pairs
    fill a good part of (first templates) x (second templates), as in IJB, they are taken from blocks of that product;
    else the features of each pair are gathered.
    """
    if not len(first):
        return np.empty(0)
    known = (first >= 0) & (second >= 0)
    if not known.all():
        similarity = np.full(len(first), NEVER)
        similarity[known] = template_similarities(features, first[known], second[known])
        return similarity
    rows, row_of = _distinct(first, len(features))
    columns, column_of = _distinct(second, len(features))
    if len(first) < _DENSE * len(rows) * len(columns):
        similarity = np.empty(len(first))
        with Progress("pairs", len(first), unit="pair") as progress:
            for start in range(0, len(first), _PAIRS):
                part = slice(start, start + _PAIRS)
                similarity[part] = np.einsum("ij,ij->i", features[first[part]], features[second[part]])
                progress.advance(len(similarity[part]))
        return similarity
    return _from_blocks(features[rows], features[columns], row_of[first], column_of[second])


def _distinct(positions: np.ndarray, count: int) -> tuple[np.ndarray, np.ndarray]:
    """The distinct positions, and for each position its place among them."""
    used = np.bincount(positions, minlength=count) > 0
    return np.flatnonzero(used), (np.cumsum(used) - 1).astype(np.int32)


def _from_blocks(rows: np.ndarray, columns: np.ndarray, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    # 16 bits number the blocks, and NumPy sorts those by counting.
    height = max(1, _CELLS // len(columns), -(-len(rows) // 2**16))
    block = (row // height).astype(np.uint16)
    order = np.argsort(block, kind="stable")
    ends = np.cumsum(np.bincount(block))
    similarity = np.empty(len(row))
    with Progress("pairs", len(row), unit="pair") as progress:
        for number, (start, end) in enumerate(zip([0, *ends[:-1].tolist()], ends.tolist())):
            product = rows[number * height : (number + 1) * height] @ columns.T
            pairs = order[start:end]
            similarity[pairs] = product[row[pairs] - number * height, column[pairs]]
            progress.advance(end - start)
    return similarity
