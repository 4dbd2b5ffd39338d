"""Every loss and metric does what a Keras object must do; see keras_case.py."""

import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_loss, check_metric
from needs import needs_tensorflow_addons
from test_ddl import make_batch

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


def labels_and_logits():
    rng = np.random.default_rng(0)
    # Replicas get the halves: they hold different numbers of labelled rows.
    labels = np.array([2, 0, 5, 1, -1, -1, 4, -1])
    return labels, (4 * rng.normal(size=(8, 6))).astype(np.float32)


@pytest.mark.parametrize(
    "make",
    [
        DDLLoss,
        lambda: DDLLoss(1.0, 2.0, 3.0, 10, (-0.5, 0.5), 0.2, 0.1, True, num_groups=3, name="ddl"),
        pytest.param(lambda: TripletLoss(margin=0.3), marks=needs_tensorflow_addons),
        lambda: HistogramLoss(num_bins=51),
        lambda: RKDLoss(distance_weight=1.0, angle_weight=2.0),
        lambda: SPLoss(stop_teacher_gradient=False),
    ],
    ids=["ddl", "ddl with arguments", "triplet", "histogram", "rkd", "sp"],
)
def test_losses_on_embeddings(make, tmp_path):
    check_loss(make, *make_batch(identities=3, rows=2), tmp_path)


@pytest.mark.parametrize(
    "make",
    [lambda: MarginSoftmaxLoss(0.1), lambda: FocalLoss(gamma=1.5), lambda: OHEMLoss(keep_fraction=0.4)],
    ids=["margin softmax", "focal", "ohem"],
)
def test_losses_on_logits(make, tmp_path):
    check_loss(make, *labels_and_logits(), tmp_path)


def test_labelled_accuracy(two_replicas):
    check_metric(LabelledAccuracy, *labels_and_logits(), two_replicas)


@pytest.mark.parametrize(
    "make",
    [
        lambda: DDLTerm("order", bandwidth=0.2),
        lambda: ExpectationMargin(1),
        lambda: MarginGap(1),
        lambda: DistributionOverlap(1, "negative", num_nodes=50),
    ],
    ids=["term", "margin", "gap", "overlap"],
)
def test_ddl_metrics(make):
    check_metric(make, *make_batch(identities=3, rows=2))


@pytest.mark.parametrize("package", [losses, layers, models], ids=lambda package: package.__name__)
def test_every_registered_class_is_exported(package):
    registered = tf.keras.utils.get_custom_objects().values()
    names = {made.__name__ for made in registered if made.__module__.startswith(f"{package.__name__}.")}
    assert len(names) > 0
    assert {name for name in names if not name.startswith("_")} <= set(package.__all__)
