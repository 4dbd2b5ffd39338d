from pathlib import Path

import naive_losses
import numpy as np
import pytest
from batches import make_batch
from keras_case import loss_and_gradient

from ddl_tf.losses import RKDLoss, SPLoss, rkd_angle, rkd_distance, similarity_preserving

GOLDEN = np.load(Path(__file__).resolve().parents[1] / "golden" / "loss_golden.npz")
NAIVE = {
    relation: getattr(naive_losses, relation.__name__) for relation in (rkd_distance, rkd_angle, similarity_preserving)
}
RELATIONS = {**{relation.__name__: relation for relation in NAIVE}, "weighted_rkd": RKDLoss().relation}
every_relation = pytest.mark.parametrize("relation", NAIVE)


@pytest.mark.parametrize("name", RELATIONS)
@pytest.mark.parametrize("case", ["few", "some", "wider"])
def test_equals_the_authors_code(case, name):
    teacher, student, expected, expected_gradient = (
        GOLDEN[f"relational/{case}/{key}"] for key in ("teacher", "student", name, f"{name}_gradient")
    )
    value, gradient = loss_and_gradient(RELATIONS[name], teacher, student)
    assert value == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-5 * np.abs(expected_gradient).max())


@every_relation
@pytest.mark.parametrize("points", [0, 1, 2, 3])
def test_equals_the_naive_twin(relation, points):
    rng = np.random.default_rng(points)
    teacher, student = rng.normal(size=(points, 5)), rng.normal(size=(points, 5))
    value, gradient = loss_and_gradient(relation, teacher, student)
    assert value == pytest.approx(NAIVE[relation](teacher, student), rel=1e-5)
    # Two points have one distance, which is its own mean, and no angle.
    assert gradient.any() == (points >= (2 if relation is similarity_preserving else 3))


@every_relation
def test_points_that_coincide(relation):
    """Some, then all: of the student, of the teacher."""
    rng = np.random.default_rng(0)
    teacher, student = rng.normal(size=(2, 6, 5))
    for count in (3, 6):
        for pair in ((teacher, np.repeat(student[:1], 6, 0)), (np.repeat(teacher[:1], 6, 0), student)):
            points = [np.concatenate([p[:count], q[count:]]) for p, q in zip(pair, (teacher, student))]
            value, gradient = loss_and_gradient(relation, *points)
            if count < 6:
                assert value == pytest.approx(NAIVE[relation](*points), rel=1e-4)
            assert np.isfinite(value)
            assert np.abs(gradient).max() < 10


@pytest.mark.parametrize("loss_class, naive", [(RKDLoss, naive_losses.rkd), (SPLoss, naive_losses.sp)])
def test_only_common_identities_count(loss_class, naive):
    """Three groups with different identities, and different numbers of rows of each; some rows take no part."""
    y_true, y_pred = make_batch(groups=3, identities=6, rows=3)
    keep = np.random.default_rng(1).random(len(y_true)) < 0.4
    y_true, y_pred = y_true[keep], y_pred[keep]
    y_true[::6, 1] = -1
    y_true[:, 0] = 1000 - 7 * y_true[:, 0]
    commons = [len(naive_losses.matched(y_pred, *y_true.T, student)[0]) for student in (1, 2)]
    assert 1 < min(commons) < len(np.unique(y_true[:, 0]))
    assert float(loss_class()(y_true, y_pred)) == pytest.approx(naive(y_pred.astype(np.float64), *y_true.T), rel=1e-4)
    if loss_class is RKDLoss:
        expected = naive(y_pred.astype(np.float64), *y_true.T, weights=(3.0, 2.0))
        assert float(RKDLoss(3.0, 2.0)(y_true, y_pred)) == pytest.approx(expected, rel=1e-4)
