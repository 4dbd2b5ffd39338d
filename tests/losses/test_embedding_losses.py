"""What every loss on the embedding output must do: any batch, any type, any number of replicas, a right gradient."""

from pathlib import Path

import naive_ddl
import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from batches import LOSSES, edge_cases, make_batch
from keras_case import check_replicated_loss, loss_and_gradient, on_replicas, value_and_gradient
from needs import needs_tensorflow_addons

from ddl_tf.common.tensorflow_addons_import import import_tensorflow_addons
from ddl_tf.losses import DDLLoss, HistogramLoss, RKDLoss, SPLoss, TripletLoss, probability_of_reverse

GOLDEN = np.load(Path(__file__).resolve().parents[1] / "golden" / "loss_golden.npz")
NAIVE = {
    DDLLoss: lambda embeddings, *rows: naive_ddl.loss(*naive_ddl.similarities(embeddings, *rows))[0],
    TripletLoss: lambda embeddings, identity, group: naive_losses.triplet(embeddings, identity),
    HistogramLoss: lambda embeddings, identity, group: naive_losses.histogram_loss(embeddings, identity),
    RKDLoss: naive_losses.rkd,
    SPLoss: naive_losses.sp,
}
PAIRS = dict.fromkeys((TripletLoss, HistogramLoss), ("one identity", "no positive pair", "one row", "no row"))
STUDENTS = ("teacher only", "student only", "one identity", "no positive pair", "nobody takes part", "no row")
ZERO = {DDLLoss: ("nobody takes part", "one row", "no row"), **PAIRS, **dict.fromkeys((RKDLoss, SPLoss), STUDENTS)}
every_loss = pytest.mark.parametrize("loss_class", LOSSES)


@every_loss
def test_equals_the_naive_twin(loss_class):
    y_true, y_pred = make_batch(groups=4)
    expected = NAIVE[loss_class](y_pred.astype(np.float64), *y_true.T)
    assert abs(expected) > 1e-3
    assert float(loss_class()(y_true, y_pred)) == pytest.approx(expected, rel=1e-4)
    if loss_class is TripletLoss:
        expected = naive_losses.triplet(y_pred.astype(np.float64), y_true[:, 0], margin=1.0)
        assert float(TripletLoss(1.0)(y_true, y_pred)) == pytest.approx(expected, rel=1e-5)


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


@needs_tensorflow_addons
def test_no_triplets_where_tensorflow_addons_would_give_no_zero():
    """One identity: a pull without a push. No positive pair: NaN. Here both are 0."""
    semihard = import_tensorflow_addons().losses.triplet_semihard_loss
    points = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    for identity, expected in (([5, 5], 2.2), ([5, 6], np.nan)):
        theirs = semihard(tf.constant(identity), points, margin=0.2, distance_metric="squared-L2")
        np.testing.assert_allclose(theirs, expected, rtol=1e-6)
        value, gradient = loss_and_gradient(TripletLoss(), np.array([[i, 0] for i in identity]), points)
        assert value == 0.0
        assert not gradient.any()


@pytest.mark.parametrize("case", ["fine", "coarse", "one positive"])
def test_histogram_equals_the_authors_code(case):
    similarities, same, num_bins, loss, expected = (
        GOLDEN[f"histogram/{case}/{key}"] for key in ("similarities", "same", "num_bins", "loss", "gradient")
    )
    variables = [tf.Variable(similarities[mask].astype(np.float32)) for mask in (same, ~same)]
    with tf.GradientTape() as tape:
        value = probability_of_reverse(*variables, num_bins=int(num_bins))
    np.testing.assert_allclose(value, loss, rtol=1e-5)
    gradient = np.concatenate([part.numpy() for part in tape.gradient(value, variables)])
    np.testing.assert_allclose(gradient, expected, atol=1e-5 * np.abs(expected).max())


def test_a_cosine_just_above_one_counts_as_one():
    value, gradient = loss_and_gradient(
        lambda ones, above: probability_of_reverse(above, ones, 11), [1.0], [1.0000001, 1.0]
    )
    assert value == pytest.approx(1.0, abs=1e-5)
    np.testing.assert_allclose(*gradient)


def test_the_number_of_bins_of_the_histogram_counts_and_groups_do_not():
    y_true, y_pred = make_batch(groups=3)
    expected = naive_losses.histogram_loss(y_pred.astype(np.float64), y_true[:, 0], num_bins=7)
    for rows in (y_true, y_true * [1, 0]):
        assert float(HistogramLoss(num_bins=7)(rows, y_pred)) == pytest.approx(expected, rel=1e-5)
