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


@pytest.mark.parametrize("options", itertools.product([False, True], repeat=3))
def test_features_are_the_naive_ones(monkeypatch, options):
    images = _images()
    for chunk in (7, 8192):
        monkeypatch.setattr(module, "_IMAGES", chunk)
        features, ids = template_features(*images, *options)
        assert ids.tolist() == sorted(set(images[1]))
        np.testing.assert_allclose(features, _naive(*images, *options), atol=1e-12)


def test_unusable_embeddings():
    views, templates, medias, scores = _images()
    views[templates == 3] = 0
    features, ids = template_features(views, templates, medias, scores, use_norms=False)
    assert not features[ids == 3].any()
    np.testing.assert_allclose(np.linalg.norm(features[ids != 3], axis=1), 1)
    broken = views.copy()
    broken[150, 0, 3] = np.nan
    for rows, message in (
        (views[:, :1], "flip adds a second view, got 1 of each image"),
        (views[1:], "199 embeddings for 200 templates"),
        (broken, "embedding of image 150 is not finite"),
    ):
        with pytest.raises(InputError, match=message):
            template_features(rows, templates, medias, scores)


def _pairs(seed, pairs, templates=60):
    random = np.random.RandomState(seed)
    features = random.normal(size=[templates, 16])
    features /= np.linalg.norm(features, axis=1, keepdims=True)
    return features, random.randint(0, 25, pairs), random.randint(20, templates, pairs)


def test_similarities_of_dense_and_of_few_pairs(monkeypatch):
    features, first, second = _pairs(0, 700)
    expected = [float(np.dot(features[a], features[b])) for a, b in zip(first, second)]
    for dense in (0, np.inf):
        for cells in (64, 400, 2**23):
            monkeypatch.setattr(module, "_DENSE", dense)
            monkeypatch.setattr(module, "_CELLS", cells)
            monkeypatch.setattr(module, "_PAIRS", 33)
            np.testing.assert_allclose(template_similarities(features, first, second), expected, atol=1e-14)


def test_templates_without_images():
    features, first, second = _pairs(1, 300)
    missing = np.random.RandomState(0).random(300) < 0.2
    similarity = template_similarities(features, np.where(missing, -1, first), second)
    assert np.all(similarity[missing] == -2)
    np.testing.assert_allclose(similarity[~missing], np.sum(features[first] * features[second], axis=1)[~missing])
    assert template_similarities(features[:0], np.full(3, -1), np.full(3, -1)).tolist() == [-2, -2, -2]
    assert len(template_similarities(features, np.zeros(0, int), np.zeros(0, int))) == 0
