"""Poolings of templates: naive twins, and images that are in several templates."""

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics.pooling import Pooling, TemplateImages, pool_templates
from ddl_tf.metrics.templates import template_features


def unit(rows):
    return rows / np.linalg.norm(rows, axis=-1, keepdims=True)


def case(seed=0, images=60, members=150):
    random = np.random.RandomState(seed)
    views = random.normal(size=[images, 2, 6]).astype(np.float32)
    templates, medias = random.randint(0, 9, members) * 3 + 1, random.randint(0, 5, members)
    return views, TemplateImages(templates, medias, random.uniform(size=members), random.randint(0, images, members))


@pytest.mark.parametrize("first", ["none", "media"])
@pytest.mark.parametrize(("norms", "qualities"), [(False, False), (True, False), (False, True), (True, True)])
@pytest.mark.parametrize("flip", [False, True])
def test_features_are_the_naive_ones(first, norms, qualities, flip):
    views, images = case()
    pooled, ids = pool_templates(views, images, Pooling(norms, qualities, first), flip)
    rows = views[:, 0].astype(float) + (views[:, 1] if flip else 0)
    rows = rows if norms else unit(rows)
    expected = []
    for template in ids:
        groups = {}
        for member in np.flatnonzero(images.templates == template):
            row = rows[images.positions[member]] * (images.qualities[member] if qualities else 1)
            groups.setdefault(images.medias[member] if first == "media" else 0, []).append(row)
        expected.append(unit(sum(np.mean(part, axis=0) for part in groups.values())))
    assert ids.tolist() == sorted(set(images.templates.tolist()))
    np.testing.assert_allclose(pooled, expected, atol=1e-12)


def test_clusters_are_pooled_first():
    """A template that saw one side of a face nine times and the other once: each side counts alike."""
    random = np.random.RandomState(0)
    sides = unit(np.array([[1.0, 0.0, 0.0], [0.0, 1.0, 0.2]]))
    rows = np.concatenate([np.repeat(sides[:1], 9, axis=0) + 0.01 * random.normal(size=[9, 3]), sides[1:], sides[:1]])
    images = TemplateImages(np.array([5] * 10 + [6]), np.arange(11))
    views = rows[:, np.newaxis]
    pooled, ids = pool_templates(views, images, Pooling(first="cluster", clusters=2), flip=False)
    assert ids.tolist() == [5, 6]
    np.testing.assert_allclose(pooled[0], unit(unit(rows[:9]).mean(axis=0) + unit(rows[9])), atol=1e-12)
    # One image, and equal images, are one cluster.
    np.testing.assert_allclose(pooled[1], sides[0])
    alike = TemplateImages(np.zeros(4, int), np.arange(4))
    same, _ = pool_templates(np.ones([4, 1, 3]), alike, Pooling(first="cluster"), flip=False)
    np.testing.assert_allclose(same, unit(np.ones([1, 3])))
    mean, _ = pool_templates(views, images, Pooling(), flip=False)
    assert mean[0] @ sides[1] < pooled[0] @ sides[1]


def test_without_positions_each_image_is_a_member():
    views, images = case(images=150)
    alone = TemplateImages(images.templates, images.medias, images.qualities)
    pooled, ids = pool_templates(views, alone, Pooling(True, True, "media"))
    expected, known = template_features(views, images.templates, images.medias, images.qualities)
    assert ids.tolist() == known.tolist()
    np.testing.assert_array_equal(pooled, expected)


def test_names():
    assert [Pooling(*flags).name for flags in ((), (True,), (False, True), (True, True, "cluster", 3))] == [
        "mean",
        "norm-weighted mean",
        "quality-weighted mean",
        "norm- and quality-weighted mean, up to 3 clusters first",
    ]


def test_bad_poolings():
    views, images = case()
    with pytest.raises(InputError, match="pool_first='video': use one of none, media, cluster"):
        Pooling(first="video")
    with pytest.raises(InputError, match="clusters=1: must be at least 2"):
        Pooling(clusters=1)
    bare = TemplateImages(images.templates, images.medias, positions=images.positions)
    with pytest.raises(InputError, match="pooling by quality without qualities"):
        pool_templates(views, bare, Pooling(qualities=True))
    nan = np.where(np.arange(150) == 7, np.nan, images.qualities)
    wrong = TemplateImages(images.templates, images.medias, nan, images.positions)
    with pytest.raises(InputError, match=rf"1 qualities .*of image {images.positions[7]}, is nan"):
        pool_templates(views, wrong, Pooling(qualities=True))
    views[images.positions[3], 0, 0] = np.inf
    for first in ("none", "cluster"):
        with pytest.raises(InputError, match=f"embedding of image {images.positions[3]} is not finite"):
            pool_templates(views, images, Pooling(first=first))
