"""How the embeddings of several images, or of a video, become one: the poolings of the field, each with its name."""

import dataclasses
import warnings
from collections.abc import Iterator
from typing import Optional

import numpy as np
from scipy.cluster.vq import kmeans2

from ddl_tf.common.errors import InputError
from ddl_tf.common.progress import Progress
from ddl_tf.metrics.templates import image_features, template_features

# What of a template is pooled before the template is.
POOLED_FIRST = ("none", "media", "cluster")


@dataclasses.dataclass(frozen=True)
class Pooling:
    """How the images of a template become one feature: what an image counts, and what is pooled first.

    Attributes:
        norms: whether an image counts by the length of its embedding, which falls with its quality; else all count
            alike.
        qualities: whether an image counts by its quality, a number that is given for each.
        first: "none": the template is the mean of its images. "media": of each still image, video or camera the mean,
            and then the sum of these, so that a long video counts no more than a photo. "cluster": the same with groups
            of like images, found by k-means in each template, so that many like frames count no more than few others.
        clusters: how many groups of a template k-means looks for, at most.

    Raises:
        InputError: if `first` is none of `POOLED_FIRST`, or there are fewer than 2 clusters.

    Example:
        >>> Pooling(norms=True, first="media").name
        'norm-weighted mean, medias first'

    References:
        The mean of medias: Crosswhite et al., Template Adaptation for Face Verification and Identification, FG 2017.
        The length as quality: Kim, Jain and Liu, AdaFace, CVPR 2022. Clusters, with learned centers: Kim et al.,
        Cluster and Aggregate, NeurIPS 2022.
    """

    norms: bool = False
    qualities: bool = False
    first: str = "none"
    clusters: int = 4

    def __post_init__(self) -> None:
        if self.first not in POOLED_FIRST:
            raise InputError(f"pool_first={self.first!r}: use one of {', '.join(POOLED_FIRST)}")
        if self.clusters < 2:
            raise InputError(f"clusters={self.clusters}: must be at least 2; one cluster is the mean")

    @property
    def name(self) -> str:
        """What is said with every result of templates."""
        weights = [name for name, used in (("norm", self.norms), ("quality", self.qualities)) if used]
        mean = f"{'- and '.join(weights)}-weighted mean" if weights else "mean"
        first = {"none": "", "media": ", medias first", "cluster": f", up to {self.clusters} clusters first"}
        return mean + first[self.first]


@dataclasses.dataclass(frozen=True)
class TemplateImages:
    """Which images the templates have: `[members]` each, in any order; an image may be in several templates.

    Attributes:
        templates: int, the template.
        medias: int, the still image, video or camera.
        qualities: float, 0 or more; None if nothing is known of them.
        positions: int, the image, a place among the embeddings; None if each image is a member, in their order.
    """

    templates: np.ndarray
    medias: np.ndarray
    qualities: Optional[np.ndarray] = None
    positions: Optional[np.ndarray] = None

    def places(self, members: np.ndarray) -> np.ndarray:
        """The places of some members among the embeddings."""
        return members if self.positions is None else self.positions[members]


def pool_templates(
    views: np.ndarray, images: TemplateImages, pooling: Pooling, flip: bool = True
) -> tuple[np.ndarray, np.ndarray]:
    """Pool the embeddings of images into one feature for each template.

    Args:
        views: `[images, views, dim]`, as the model gave them; it may be a memory map.
        images: which of them each template has.
        pooling: how.
        flip: whether to add the second view, that of the mirrored image.

    Returns:
        `[templates, dim]` float64 of unit norm (an all-zero feature stays zero), and the `[templates]` numbers, rising.

    Raises:
        InputError: if the counts do not fit, an embedding is not finite, or qualities are asked for and not given, or
            not numbers of at least 0.
    """
    qualities = images.qualities
    if pooling.qualities:
        if qualities is None:
            raise InputError("pooling by quality without qualities of the images; give one for each")
        wrong = np.flatnonzero(~(np.isfinite(qualities) & (qualities >= 0)))
        if len(wrong):
            first = f"the first, of image {images.places(wrong[:1])[0]}, is {qualities[wrong[0]]}"
            count = len(np.unique(images.places(wrong)))
            raise InputError(f"{count:,} qualities are no numbers of at least 0 ({first}); scale them to 0..1")
    groups = images.medias if pooling.first == "media" else np.zeros(len(images.templates), int)
    if pooling.first == "cluster":
        groups = _clusters(views, images, pooling, flip)
    weights = qualities if qualities is not None else np.ones(len(images.templates))
    return template_features(
        views, images.templates, groups, weights, flip, pooling.norms, pooling.qualities, images.positions
    )


def _clusters(views: np.ndarray, images: TemplateImages, pooling: Pooling, flip: bool) -> np.ndarray:
    """Group the images of each template by k-means on their embeddings of unit norm: `[members]`, from 0 in each."""
    cluster = np.zeros(len(images.templates), int)
    with Progress("clusters", len(cluster)) as progress:
        for members in _members(images.templates):
            places = images.places(members)
            rows = image_features(views[places], places, flip, use_norms=False)
            distinct = len(np.unique(rows, axis=0))
            if distinct > 1:
                # A cluster that ends up empty is one fewer. (On few images scikit-learn's takes 7 times as long.)
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", UserWarning)
                    _, cluster[members] = kmeans2(rows, min(pooling.clusters, distinct), minit="++", seed=0)
            progress.advance(len(members))
    return cluster


def _members(templates: np.ndarray) -> Iterator[np.ndarray]:
    """The places of the images of one template after the other."""
    order = np.argsort(templates, kind="stable")
    starts = np.flatnonzero(np.diff(templates[order])) + 1
    return iter(np.split(order, starts))
