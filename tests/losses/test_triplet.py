import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from keras_case import loss_and_gradient
from needs import needs_tensorflow_addons
from test_ddl import make_batch

from ddl_tf.common.tensorflow_addons_import import import_tensorflow_addons
from ddl_tf.losses import TripletLoss

pytestmark = needs_tensorflow_addons


@pytest.mark.parametrize("margin", [0.05, 0.2, 1.0])
def test_margin_counts_as_the_twin_says(margin):
    y_true, y_pred = make_batch(groups=3)
    expected = naive_losses.triplet(y_pred.astype(np.float64), y_true[:, 0], margin)
    assert float(TripletLoss(margin)(y_true, y_pred)) == pytest.approx(expected, rel=1e-5)


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
