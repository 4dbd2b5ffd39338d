import itertools

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.metrics import templates as module
from ddl_tf.metrics.templates import template_features, template_similarities


def _images(seed=0, images=200):
    random = np.random.RandomState(seed)
    views = random.normal(size=[images, 2, 8]).astype(np.float32)
    # In no order at all: the images of a template, and of a media, lie anywhere.
    templates, medias = random.randint(0, 12, images) * 5 + 3, random.randint(-4, 9, images)
    return views, templates, medias, random.uniform(0.1, 1, images).astype(np.float32)


def _naive(views, templates, medias, scores, flip, use_norms, use_scores):
    features = []
    for template in sorted(set(templates)):
        total = np.zeros(views.shape[2])
        for media in sorted(set(medias[templates == template])):
            frames = []
            for image in np.flatnonzero((templates == template) & (medias == media)):
                feature = views[image, 0].astype(float) + (views[image, 1] if flip else 0)
                if not use_norms:
                    feature = feature / np.sqrt(np.sum(feature**2))
                frames.append(feature * (scores[image] if use_scores else 1))
            total += np.mean(frames, axis=0)
        features.append(total / np.sqrt(np.sum(total**2)))
    return np.array(features)


@pytest.mark.parametrize(("flip", "use_norms", "use_scores"), itertools.product([False, True], repeat=3))
def test_features_are_the_naive_ones(monkeypatch, flip, use_norms, use_scores):
    views, templates, medias, scores = _images()
    expected = _naive(views, templates, medias, scores, flip, use_norms, use_scores)
    for chunk in (7, 8192):
        monkeypatch.setattr(module, "_IMAGES", chunk)
        features, ids = template_features(views, templates, medias, scores, flip, use_norms, use_scores)
        assert ids.tolist() == sorted(set(templates))
        np.testing.assert_allclose(features, expected, atol=1e-12)


def test_unusable_embeddings():
    views, templates, medias, scores = _images()
    views[templates == 3] = 0
    features, ids = template_features(views, templates, medias, scores, use_norms=False)
    assert not features[ids == 3].any()
    np.testing.assert_allclose(np.linalg.norm(features[ids != 3], axis=1), 1)
    broken = views.copy()
    broken[150, 0, 3] = np.nan
    for rows, message in (
        (views[:, :1], "1 view of each image, where flip adds a second"),
        (views[1:], "199 embeddings for 200 templates"),
        (broken, "embedding of image 150 is not finite"),
    ):
        with pytest.raises(InputError, match=message):
            template_features(rows, templates, medias, scores)


def test_similarities_of_dense_and_of_few_pairs(monkeypatch):
    random = np.random.RandomState(0)
    features = random.normal(size=[60, 16])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    first, second = random.randint(0, 25, 700), random.randint(20, 60, 700)
    expected = np.array([float(np.dot(features[a], features[b])) for a, b in zip(first, second)])
    # Some templates have no image.
    missing = random.random(700) < 0.2
    for dense, cells in itertools.product((0, np.inf), (64, 400, 2**23)):
        monkeypatch.setattr(module, "_DENSE", dense)
        monkeypatch.setattr(module, "_CELLS", cells)
        monkeypatch.setattr(module, "_PAIRS", 33)
        np.testing.assert_allclose(template_similarities(features, first, second), expected, atol=1e-14)
        similarity = template_similarities(features, np.where(missing, -1, first), second)
        np.testing.assert_allclose(similarity, np.where(missing, -2, expected), atol=1e-14)
    assert template_similarities(features[:0], np.full(3, -1), np.full(3, -1)).tolist() == [-2, -2, -2]
