import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from needs import needs_tensorflow_addons
from test_ddl import loss_and_gradient, make_batch

from ddl_tf.common.tensorflow_addons_import import import_tensorflow_addons
from ddl_tf.losses import TripletLoss

pytestmark = needs_tensorflow_addons


@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0])
def test_margin_counts_as_the_twin_says(margin):
    y_true, y_pred = make_batch(groups=3)
    expected = naive_losses.triplet(y_pred.astype(np.float64), y_true[:, 0], margin)
    assert float(TripletLoss(margin)(y_true, y_pred)) == pytest.approx(expected, rel=1e-5)


def test_groups_do_not_matter():
    y_true, y_pred = make_batch()
    other = y_true * [1, 0] - [0, 1]
    assert float(TripletLoss()(other, y_pred)) == float(TripletLoss()(y_true, y_pred))


def test_squared_distance_is_twice_the_angular_distance_of_tensorflow_addons():
    y_true, y_pred = make_batch()
    angular = import_tensorflow_addons().losses.triplet_semihard_loss(
        y_true[:, 0], tf.math.l2_normalize(y_pred, axis=1), margin=0.1, distance_metric="angular"
    )
    assert float(TripletLoss(0.2)(y_true, y_pred)) == pytest.approx(2.0 * float(angular), rel=1e-5)


def test_no_triplets_where_tensorflow_addons_would_give_no_zero():
    """One identity: a pull without a push. No positive pair: NaN. Here both are 0."""
    semihard = import_tensorflow_addons().losses.triplet_semihard_loss
    points = tf.constant([[1.0, 0.0], [0.0, 1.0]])
    for identity, expected in (([5, 5], 2.2), ([5, 6], np.nan)):
        found = semihard(tf.constant(identity), points, margin=0.2, distance_metric="squared-L2")
        np.testing.assert_allclose(found, expected, rtol=1e-6)
        value, gradient = loss_and_gradient(TripletLoss(), np.array([[i, 0] for i in identity]), points)
        assert value == 0.0
        assert not gradient.any()


@pytest.mark.parametrize("margin", [0.0, -0.2])
def test_bad_margin_is_named(margin):
    with pytest.raises(ValueError, match=f"margin.*{margin}"):
        TripletLoss(margin)
