"""What every loss on the embedding output must do: any batch, any type, any number of replicas, a right gradient."""

import naive_ddl
import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from needs import needs_tensorflow_addons
from test_ddl import edge_cases, loss_and_gradient, make_batch

from ddl_tf.losses import DDLLoss, HistogramLoss, RKDLoss, SPLoss, TripletLoss


def naive_ddl_loss(embeddings, identity, group):
    return naive_ddl.loss(*naive_ddl.similarities(embeddings, identity, group))[0]


NAIVE = {
    DDLLoss: naive_ddl_loss,
    TripletLoss: lambda embeddings, identity, group: naive_losses.triplet(embeddings, identity),
    HistogramLoss: lambda embeddings, identity, group: naive_losses.histogram_loss(embeddings, identity),
    RKDLoss: naive_losses.rkd,
    SPLoss: naive_losses.sp,
}


def cases(loss_classes, *values):
    marks = {TripletLoss: needs_tensorflow_addons}
    return [pytest.param(loss_class, *values, marks=marks.get(loss_class, ())) for loss_class in loss_classes]


every_loss = pytest.mark.parametrize("loss_class", cases(NAIVE))


@every_loss
@pytest.mark.parametrize("students", [1, 2, 4])
def test_equals_the_naive_twin(loss_class, students):
    y_true, y_pred = make_batch(groups=students + 1)
    expected = NAIVE[loss_class](y_pred.astype(np.float64), *y_true.T)
    assert abs(expected) > 1e-3
    assert float(loss_class()(y_true, y_pred)) == pytest.approx(expected, rel=1e-4)


@every_loss
def test_gradient_equals_finite_differences(loss_class):
    y_true, y_pred = make_batch(identities=4, rows=2, dim=4)
    _, gradient = loss_and_gradient(loss_class(), y_true, y_pred)
    embeddings = y_pred.astype(np.float64)
    for row in np.flatnonzero(y_true[:, 1] == 1)[:4]:
        for column in range(4):
            step = np.zeros_like(embeddings)
            step[row, column] = 1e-6
            values = [NAIVE[loss_class](embeddings + sign * step, *y_true.T) for sign in (1, -1)]
            numeric = (values[0] - values[1]) / 2e-6
            assert gradient[row, column] == pytest.approx(numeric, rel=1e-3, abs=float(1e-4 * np.abs(gradient).max()))


@every_loss
@pytest.mark.parametrize("name", edge_cases())
def test_edge_cases_are_finite(loss_class, name):
    value, gradient = loss_and_gradient(loss_class(), *edge_cases()[name])
    assert np.isfinite(value)
    assert np.all(np.isfinite(gradient))
    # No cliff at equal, zero or opposite embeddings.
    assert np.abs(gradient).max(initial=0) < 1e3 * max(1.0, 1e6 * (name == "zero embeddings"))


NOTHING_TO_DO = {
    TripletLoss: ("one identity", "no positive pair", "one row", "no row"),
    HistogramLoss: ("one identity", "no positive pair", "one row", "no row"),
    RKDLoss: ("teacher only", "student only", "one identity", "no positive pair", "nobody takes part", "no row"),
    SPLoss: ("teacher only", "student only", "one identity", "no positive pair", "nobody takes part", "no row"),
}


@pytest.mark.parametrize("loss_class", cases(NOTHING_TO_DO))
def test_without_pairs_or_common_identities_the_loss_and_its_gradient_are_zero(loss_class):
    for name in NOTHING_TO_DO[loss_class]:
        value, gradient = loss_and_gradient(loss_class(), *edge_cases()[name])
        assert value == 0.0, name
        assert not gradient.any(), name


@every_loss
@pytest.mark.parametrize("everywhere", [True, False])
def test_an_embedding_that_is_not_a_number_shows(loss_class, everywhere):
    y_true, y_pred = make_batch()
    y_pred[slice(None) if everywhere else 3] = np.nan
    assert not np.isfinite(float(loss_class()(y_true, y_pred)))


@every_loss
@pytest.mark.parametrize("dtype", [tf.float16, tf.bfloat16, tf.float64])
def test_any_float_type(loss_class, dtype):
    y_true, y_pred = make_batch()
    value = loss_class()(tf.constant(y_true), tf.cast(y_pred, dtype))
    assert value.dtype == tf.float32
    assert float(value) == pytest.approx(float(loss_class()(y_true, y_pred)), rel=0.02)


@every_loss
@pytest.mark.parametrize("dtype", [tf.int32, tf.int64])
def test_any_type_of_rows_and_any_batch_in_a_function(loss_class, dtype):
    loss = loss_class()
    function = tf.function(
        loss, input_signature=[tf.TensorSpec([None, 2], dtype), tf.TensorSpec([None, 16], tf.float32)]
    )
    for groups in (1, 2, 4):
        y_true, y_pred = make_batch(groups)
        value = function(tf.cast(y_true, dtype), y_pred)
        np.testing.assert_allclose(value, loss(tf.constant(y_true), y_pred), rtol=1e-5)
    assert float(function(tf.zeros([0, 2], dtype), tf.zeros([0, 16]))) == 0.0


@every_loss
def test_sample_weight_is_refused(loss_class):
    y_true, y_pred = make_batch()
    with pytest.raises(ValueError, match=f"{loss_class.__name__}.*group -1"):
        loss_class()(y_true, y_pred, tf.ones([len(y_true)]))


# A replica without rows differs from others only in the gathering, which is the same for every loss.
@pytest.mark.parametrize("loss_class, rows_of_the_first_replica", [*cases(NAIVE, 13), (DDLLoss, 0)])
def test_two_replicas_equal_one_device(two_replicas, loss_class, rows_of_the_first_replica):
    y_true, y_pred = make_batch()
    expected, expected_gradient = loss_and_gradient(loss_class(), y_true, y_pred)
    parts = [slice(0, rows_of_the_first_replica), slice(rows_of_the_first_replica, None)]

    def replica(rows, embeddings):
        with tf.GradientTape() as tape:
            tape.watch(embeddings)
            # Keras divides by the number of replicas and sums the gradients.
            loss = loss_class(reduction="sum")(rows, embeddings)
            scaled = loss / 2
        return loss, tape.gradient(scaled, embeddings)

    def distributed(values):
        return two_replicas.experimental_distribute_values_from_function(
            lambda context: tf.constant(values[parts[context.replica_id_in_sync_group]])
        )

    step = tf.function(lambda rows, embeddings: two_replicas.run(replica, (rows, embeddings)))
    losses, gradients = step(distributed(y_true), distributed(y_pred))
    for loss in losses.values:
        assert float(loss) == pytest.approx(expected, rel=1e-5)
    gradient = np.concatenate([g.numpy() for g in gradients.values])
    np.testing.assert_allclose(gradient, expected_gradient, atol=1e-6 * max(1.0, np.abs(expected_gradient).max()))


@every_loss
def test_gather_can_be_switched_off(two_replicas, loss_class):
    y_true, y_pred = make_batch()
    rows = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(y_true[context.replica_id_in_sync_group :: 2])
    )
    embeddings = two_replicas.experimental_distribute_values_from_function(
        lambda context: tf.constant(y_pred[context.replica_id_in_sync_group :: 2])
    )
    loss = loss_class(gather=False, reduction="sum")
    found = tf.function(lambda a, b: two_replicas.run(loss, (a, b)))(rows, embeddings)
    for k, value in enumerate(found.values):
        assert float(value) == pytest.approx(float(loss(y_true[k::2], y_pred[k::2])), rel=1e-5)
