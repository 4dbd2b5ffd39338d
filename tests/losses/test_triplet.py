import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from batches import make_batch
from keras_case import loss_and_gradient
from needs import needs_tensorflow_addons

from ddl_tf.common.tensorflow_addons_import import import_tensorflow_addons
from ddl_tf.losses import TripletLoss

pytestmark = needs_tensorflow_addons


def test_the_margin_counts():
    y_true, y_pred = make_batch(groups=3)
    for margin in (0.05, 1.0):
        expected = naive_losses.triplet(y_pred.astype(np.float64), y_true[:, 0], margin)
        assert float(TripletLoss(margin)(y_true, y_pred)) == pytest.approx(expected, rel=1e-5)


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
