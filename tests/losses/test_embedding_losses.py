"""What every loss on the embedding output must do: any batch, any type, any number of replicas, a right gradient."""

import naive_ddl
import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from batches import LOSSES, edge_cases, make_batch
from keras_case import check_replicated_loss, loss_and_gradient, on_replicas, value_and_gradient

from ddl_tf.losses import DDLLoss, HistogramLoss, RKDLoss, SPLoss, TripletLoss

NAIVE = {
    DDLLoss: lambda embeddings, *rows: naive_ddl.loss(*naive_ddl.similarities(embeddings, *rows))[0],
    TripletLoss: lambda embeddings, identity, group: naive_losses.triplet(embeddings, identity),
    HistogramLoss: lambda embeddings, identity, group: naive_losses.histogram_loss(embeddings, identity),
    RKDLoss: naive_losses.rkd,
    SPLoss: naive_losses.sp,
}
WITHOUT_PAIRS = ("one identity", "no positive pair", "one row", "no row")
WITHOUT_STUDENT = ("teacher only", "student only", "one identity", "no positive pair", "nobody takes part", "no row")
ZERO = {
    DDLLoss: ("nobody takes part", "one row", "no row"),
    TripletLoss: WITHOUT_PAIRS,
    HistogramLoss: WITHOUT_PAIRS,
    RKDLoss: WITHOUT_STUDENT,
    SPLoss: WITHOUT_STUDENT,
}
every_loss = pytest.mark.parametrize("loss_class", LOSSES)


@every_loss
def test_equals_the_naive_twin(loss_class):
    y_true, y_pred = make_batch(groups=4)
    expected = NAIVE[loss_class](y_pred.astype(np.float64), *y_true.T)
    assert abs(expected) > 1e-3
    assert float(loss_class()(y_true, y_pred)) == pytest.approx(expected, rel=1e-4)


@every_loss
def test_gradient_equals_finite_differences(loss_class):
    y_true, y_pred = make_batch(identities=4, rows=2, dim=4)
    _, gradient = loss_and_gradient(loss_class(), y_true, y_pred)
    embeddings = y_pred.astype(np.float64)
    for row in np.flatnonzero(y_true[:, 1] == 1)[:2]:
        for column in range(4):
            step = np.zeros_like(embeddings)
            step[row, column] = 1e-6
            values = [NAIVE[loss_class](embeddings + sign * step, *y_true.T) for sign in (1, -1)]
            numeric = (values[0] - values[1]) / 2e-6
            assert gradient[row, column] == pytest.approx(numeric, rel=1e-3, abs=float(1e-4 * np.abs(gradient).max()))


@every_loss
def test_edge_cases_in_a_function_of_any_batch(loss_class):
    """As eagerly (there of int64), finite, and without a cliff at equal, zero or opposite embeddings."""
    loss = loss_class()
    shapes = [tf.TensorSpec([None, 2], tf.int32), tf.TensorSpec([None, None if loss_class is DDLLoss else 16])]
    traced = tf.function(lambda y_true, y_pred: value_and_gradient(loss, y_true, y_pred), shapes)
    for name, (y_true, y_pred) in {**edge_cases(), "four groups": make_batch(groups=4)}.items():
        value, gradient = traced(tf.cast(y_true, tf.int32), y_pred)
        np.testing.assert_allclose(value, loss(tf.constant(y_true), y_pred), rtol=1e-5, atol=1e-6, err_msg=name)
        assert np.all(np.isfinite(gradient)), name
        assert np.abs(gradient).max(initial=0) < 1e3 * max(1.0, 1e6 * (name == "zero embeddings")), name
        assert name not in ZERO[loss_class] or not (value or gradient.numpy().any()), name


@every_loss
def test_an_embedding_that_is_not_a_number_shows(loss_class):
    y_true, y_pred = make_batch()
    for rows in (slice(None), 3):
        broken = y_pred.copy()
        broken[rows] = np.nan
        assert not np.isfinite(float(loss_class()(y_true, broken)))
    # Without negatives it shows by the positives alone.
    assert np.isnan(float(DDLLoss()(y_true * [0, 1], broken)))


# A replica without rows differs from others only in the gathering, which is the same for every loss.
@pytest.mark.parametrize("loss_class, rows_of_the_first_replica", [*((made, 13) for made in LOSSES), (DDLLoss, 0)])
def test_two_replicas_equal_one_device(two_replicas, loss_class, rows_of_the_first_replica):
    check_replicated_loss(two_replicas, loss_class, rows_of_the_first_replica, *make_batch())


@pytest.mark.parametrize("loss_class", [DDLLoss, SPLoss])
def test_gather_can_be_switched_off(two_replicas, loss_class):
    y_true, y_pred = make_batch()
    loss, parts = loss_class(gather=False, reduction="sum"), [slice(0, None, 2), slice(1, None, 2)]
    for value, part in zip(on_replicas(two_replicas, loss, parts, y_true, y_pred), parts):
        assert float(value) == pytest.approx(float(loss(y_true[part], y_pred[part])), rel=1e-5)
