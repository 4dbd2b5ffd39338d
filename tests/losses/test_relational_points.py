import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from test_ddl import make_batch

from ddl_tf.losses.relational import identity_means, sum_over_students


def uneven_batch():
    """Three groups with different identities, and different numbers of rows of each; some rows take no part."""
    y_true, y_pred = make_batch(groups=3, identities=6, rows=3)
    rng = np.random.default_rng(1)
    keep = rng.random(len(y_true)) < 0.4
    y_true, y_pred = y_true[keep], y_pred[keep]
    y_true[::6, 1] = -1
    y_true[:, 0] = 1000 - 7 * y_true[:, 0]
    return y_true, y_pred


def test_means_equal_the_naive_twin():
    (identity, group), embeddings = uneven_batch()[0].T, uneven_batch()[1]
    means, present = (x.numpy() for x in identity_means(embeddings, identity, group))
    assert means.shape == (3, len(set(identity)), 16)
    common_counts = []
    for student in (1, 2):
        common = present[0] & present[student]
        teacher, points = naive_losses.matched(embeddings, identity, group, student)
        common_counts.append(len(teacher))
        # The twin orders identities by their number, tf.unique by their first row.
        order = np.argsort([i for i, c in zip(dict.fromkeys(identity), common) if c])
        np.testing.assert_allclose(means[0][common][order], teacher, atol=1e-6)
        np.testing.assert_allclose(means[student][common][order], points, atol=1e-6)
    assert 0 < min(common_counts) < len(set(identity))


def test_sum_over_students_gives_each_its_matched_points():
    (identity, group), embeddings = uneven_batch()[0].T, uneven_batch()[1]

    def loss(teacher, student):
        return tf.cast(tf.shape(teacher)[0], tf.float32) + tf.reduce_sum(tf.square(teacher - student))

    expected = 0.0
    for student in (1, 2):
        teacher, points = naive_losses.matched(embeddings, identity, group, student)
        expected += len(teacher) + np.sum((teacher - points) ** 2)
    found = sum_over_students(loss, embeddings, identity, group, stop_teacher_gradient=True)
    assert float(found) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("groups", [[], [-1, -1], [0, 0]])
def test_without_a_student_there_is_an_empty_one(groups):
    means, present = identity_means(tf.ones([len(groups), 4]), tf.range(len(groups)), tf.constant(groups, tf.int32))
    assert means.shape == (2, len(groups), 4)
    assert not present[1].numpy().any()
