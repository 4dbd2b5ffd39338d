import math

import numpy as np
import pytest
from naive_heads import naive_cosine, naive_margin

from ddl_tf.layers import SubCenterArcFace

LABELS = np.array([0, 3, -1, 6, 6, -1])


def batches():
    return np.random.default_rng(0).normal(size=[2, 6, 5]).astype(np.float32)


def test_equals_the_naive_twin():
    head = SubCenterArcFace(7, margin=0.4, scale=30.0, sub_centers=4)
    logits = head(batches()[0], LABELS).numpy()
    centers = head.class_centers.numpy()
    for row, embedding in enumerate(batches()[0]):
        for column in range(7):
            cosine = max(naive_cosine(embedding, centers[:, column, k]) for k in range(4))
            if column == LABELS[row]:
                cosine = naive_margin(math.acos(cosine), m2=0.4)
            assert logits[row, column] == pytest.approx(30.0 * cosine, rel=1e-4, abs=1e-4)


def test_counts_which_sub_center_is_chosen():
    head = SubCenterArcFace(7)
    expected = np.zeros([7, 3])
    for embeddings in batches():
        head(embeddings, LABELS, training=True)
        counts = np.zeros([7, 3])
        for embedding, label in zip(embeddings, LABELS):
            if label >= 0:
                cosines = [naive_cosine(embedding, head.class_centers.numpy()[:, label, k]) for k in range(3)]
                counts[label, np.argmax(cosines)] += 1
        expected = expected * 0.99 ** counts.sum(axis=1, keepdims=True) + counts
    np.testing.assert_allclose(head.chosen, expected, rtol=1e-6)


def test_the_dominant_sub_center_stands_for_the_class():
    head = SubCenterArcFace(2)
    head.build([None, 3])
    # Both classes have the three axes as centers, of other lengths.
    head.class_centers.assign(np.stack([np.diag([5.0, 1.0, 1.0]), np.diag([1.0, 1.0, 2.0])], axis=1))
    rows = np.array([[0, 1, 0.1], [0.1, 1, 0], [1, 0.2, 0], [1, 0, 0], [1, 0, 0.3], [0, 0, 1]], np.float32)
    head(rows, np.array([0, 0, 0, 1, 1, 1]), training=True)
    np.testing.assert_array_equal(head.chosen, [[1 * 1, 2, 0], [2, 0, 1]])
    np.testing.assert_array_equal(head.normalized_centers(), [[0, 1, 0], [1, 0, 0]])
