"""Every loss and metric does what a Keras object must do; see keras_case.py."""

import numpy as np
import pytest
import tensorflow as tf
from batches import make_batch
from keras_case import check_config, check_loss, check_metric
from needs import needs_tensorflow_addons

from ddl_tf import layers, losses, models

# Replicas get the halves: they hold different numbers of labelled rows.
LABELS = np.array([2, 0, 5, 1, -1, -1, 4, -1])
LOGITS = (4 * np.random.default_rng(0).normal(size=(8, 6))).astype(np.float32)
ROWS = make_batch(identities=3, rows=2)


# None of the arguments is the default.
@pytest.mark.parametrize(
    "make, batch",
    [
        (lambda: losses.DDLLoss(1.0, 2.0, 3.0, 10, (-0.5, 0.5), 0.2, 0.1, True, False, num_groups=3, name="x"), ROWS),
        pytest.param(lambda: losses.TripletLoss(0.3, False, name="x"), ROWS, marks=needs_tensorflow_addons),
        (lambda: losses.HistogramLoss(51, False, name="x"), ROWS),
        (lambda: losses.RKDLoss(1.0, 2.0, False, False, name="x"), ROWS),
        (lambda: losses.SPLoss(False, False, name="x"), ROWS),
        (lambda: losses.MarginSoftmaxLoss(0.1), (LABELS, LOGITS)),
        (lambda: losses.FocalLoss(gamma=1.5), (LABELS, LOGITS)),
        (lambda: losses.OHEMLoss(keep_fraction=0.4), (LABELS, LOGITS)),
    ],
)
def test_losses(make, batch, tmp_path):
    check_loss(make, *batch, tmp_path)


def test_metrics(two_replicas):
    check_metric(losses.LabelledAccuracy, LABELS, LOGITS, two_replicas)
    check_metric(lambda: losses.DistributionOverlap(1, "negative", num_nodes=50), *ROWS)
    # What is left is that of their base.
    groups = losses.ExpectationMargin(1), losses.MarginGap(1)
    for made in (losses.DDLTerm("order", bandwidth=0.2), *groups, losses.MarginSoftmaxLoss(0.0, True)):
        check_config(made)


@pytest.mark.parametrize("package", [losses, layers, models], ids=lambda package: package.__name__)
def test_every_registered_class_is_exported(package):
    registered = tf.keras.utils.get_custom_objects().values()
    names = {made.__name__ for made in registered if made.__module__.startswith(f"{package.__name__}.")}
    assert len(names) > 0
    assert {name for name in names if not name.startswith("_")} <= set(package.__all__)
