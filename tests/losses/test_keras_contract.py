"""Every loss and metric does what a Keras object must do; see keras_case.py."""

import numpy as np
import pytest
import tensorflow as tf
from batches import make_batch
from keras_case import check_config, check_loss, check_metric
from needs import needs_tensorflow_addons

from ddl_tf import layers, losses, models
from ddl_tf.losses import (
    DDLLoss,
    DDLTerm,
    DistributionOverlap,
    ExpectationMargin,
    FocalLoss,
    HistogramLoss,
    LabelledAccuracy,
    MarginGap,
    MarginSoftmaxLoss,
    OHEMLoss,
    RKDLoss,
    SPLoss,
    TripletLoss,
)

# Replicas get the halves: they hold different numbers of labelled rows.
LABELS = np.array([2, 0, 5, 1, -1, -1, 4, -1])
LOGITS = (4 * np.random.default_rng(0).normal(size=(8, 6))).astype(np.float32)
ROWS = make_batch(identities=3, rows=2)


# None of the arguments is the default.
@pytest.mark.parametrize(
    "make, batch",
    [
        (lambda: DDLLoss(1.0, 2.0, 3.0, 10, (-0.5, 0.5), 0.2, 0.1, True, False, num_groups=3, name="x"), ROWS),
        pytest.param(lambda: TripletLoss(0.3, False, name="x"), ROWS, marks=needs_tensorflow_addons),
        (lambda: HistogramLoss(51, False, name="x"), ROWS),
        (lambda: RKDLoss(1.0, 2.0, False, False, name="x"), ROWS),
        (lambda: SPLoss(False, False, name="x"), ROWS),
        (lambda: MarginSoftmaxLoss(0.1), (LABELS, LOGITS)),
        (lambda: FocalLoss(gamma=1.5), (LABELS, LOGITS)),
        (lambda: OHEMLoss(keep_fraction=0.4), (LABELS, LOGITS)),
    ],
    ids=["ddl", "triplet", "histogram", "rkd", "sp", "margin softmax", "focal", "ohem"],
)
def test_losses(make, batch, tmp_path):
    check_loss(make, *batch, tmp_path)


def test_labelled_accuracy(two_replicas):
    check_metric(LabelledAccuracy, LABELS, LOGITS, two_replicas)


def test_ddl_metrics():
    check_metric(lambda: DistributionOverlap(1, "negative", num_nodes=50), *ROWS)
    # What is left is that of their base.
    for metric in (DDLTerm("order", bandwidth=0.2), ExpectationMargin(1), MarginGap(1), MarginSoftmaxLoss(0.0, True)):
        check_config(metric)


@pytest.mark.parametrize("package", [losses, layers, models], ids=lambda package: package.__name__)
def test_every_registered_class_is_exported(package):
    registered = tf.keras.utils.get_custom_objects().values()
    names = {made.__name__ for made in registered if made.__module__.startswith(f"{package.__name__}.")}
    assert len(names) > 0
    assert {name for name in names if not name.startswith("_")} <= set(package.__all__)
