"""Losses and accuracy on the logits of a margin head: rows without a label, weights, replicas.

`sample_weight` and `class_weight` are Keras': sum(weight * loss) / N, N the rows that count.
"""

import functools

import naive_losses
import numpy as np
import pytest
import tensorflow as tf
from keras_case import check_replicated_loss, loss_and_gradient

from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.losses import DDLLoss, FocalLoss, LabelledAccuracy, MarginSoftmaxLoss, OHEMLoss
from ddl_tf.models import build_recognizer

RNG = np.random.default_rng(0)
# 16 of 20 rows have a label, so that a half, a quarter and a sixteenth are whole numbers of rows.
LABELS = np.where(np.arange(20) % 5 == 3, -1, RNG.integers(0, 7, 20))
LOGITS = (3 * RNG.normal(size=(20, 7))).astype(np.float32)
WEIGHTS = np.tile(np.array([0.0, 1.0, 2.5, 0.5, 3.0], np.float32), 4)
COUNTED = LABELS >= 0
SMOOTHED = functools.partial(MarginSoftmaxLoss, 0.1)
OHEM = functools.partial(OHEMLoss, 0.25)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
def test_margin_softmax_equals_the_naive_twin(smoothing):
    expected = np.mean(naive_losses.cross_entropies(LABELS, LOGITS, smoothing))
    for labels in (LABELS, LABELS[:, None]):
        assert float(MarginSoftmaxLoss(smoothing)(labels, LOGITS)) == pytest.approx(expected, rel=1e-5)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focal_loss_equals_the_naive_twin(gamma):
    value, gradient = loss_and_gradient(FocalLoss(gamma), LABELS, LOGITS)
    assert value == pytest.approx(naive_losses.focal(LABELS, LOGITS, gamma), rel=1e-5)
    for row, column in [(0, 0), (5, LABELS[5]), (19, 2)]:
        step = np.zeros(LOGITS.shape)
        step[row, column] = 1e-6
        above, below = (naive_losses.focal(LABELS, LOGITS + sign * step, gamma) for sign in (1, -1))
        assert gradient[row, column] == pytest.approx((above - below) / 2e-6, rel=1e-3, abs=1e-6)
    # Finite for certain rows.
    logits = tf.constant([[80.0, -80.0], [-80.0, 80.0], [1e4, 0.0], [0.0, 1e4]])
    value, gradient = loss_and_gradient(FocalLoss(gamma), tf.zeros([4], tf.int32), logits)
    assert value == pytest.approx((160.0 + 1e4) / 4)
    assert np.all(np.isfinite(gradient))


# 2.5 and 4.5 rows are rounded up.
@pytest.mark.parametrize("fraction, kept", [(1.0, 16), (0.15625, 3), (0.28125, 5), (0.001, 1)])
def test_ohem_equals_the_naive_twin(fraction, kept):
    value, gradient = loss_and_gradient(OHEMLoss(fraction), LABELS, LOGITS)
    assert value == pytest.approx(naive_losses.ohem(LABELS, LOGITS, kept), rel=1e-5)
    rows = np.any(gradient != 0, axis=1)
    assert rows.sum() == kept
    assert not rows[~COUNTED].any()


def test_ohem_keeps_the_ties_of_the_last_row_and_what_is_not_a_number():
    logits, labels = tf.constant([[0.0, 3.0], [0.0, 0.0], [0.0, 0.0], [9.0, 0.0]]), tf.zeros([4], tf.int32)
    expected = (np.log(1 + np.exp(3.0)) + 2 * np.log(2.0)) / 3
    assert float(OHEMLoss(0.5)(labels, logits)) == pytest.approx(expected, rel=1e-6)
    assert np.isnan(float(OHEM()(LABELS, np.where(np.arange(20)[:, None] == 4, np.nan, LOGITS))))


@pytest.mark.parametrize("make", [MarginSoftmaxLoss, FocalLoss, OHEMLoss])
def test_no_labelled_row_gives_zero_loss_and_gradient(make):
    for rows in (0, 5):
        value, gradient = loss_and_gradient(make(), tf.fill([rows], -1), tf.ones([rows, 3]))
        assert value == 0.0
        assert not gradient.any()


@pytest.mark.parametrize(
    "make, rows_of_the_first_replica, weighted",
    [(SMOOTHED, 13, True), (FocalLoss, 13, False), (OHEM, 10, False), (OHEM, 13, True), (OHEM, 20, True)],
)
def test_two_replicas_equal_one_device(two_replicas, make, rows_of_the_first_replica, weighted):
    # The hardest rows are not spread evenly.
    logits = LOGITS * np.where(np.arange(20) < 10, 0.1, 1).astype(np.float32)[:, None]
    weights = [WEIGHTS] if weighted else []
    check_replicated_loss(two_replicas, make, rows_of_the_first_replica, LABELS, logits, *weights)


@pytest.mark.parametrize("make", [MarginSoftmaxLoss, SMOOTHED, FocalLoss, OHEM])
def test_a_weight_multiplies_the_loss_of_its_row(make):
    rows = np.array([float(make()(LABELS[[i]], LOGITS[[i]])) for i in range(20)])
    counted = COUNTED & (rows >= np.sort(rows[COUNTED])[-4] if make is OHEM else True)
    for weights in (WEIGHTS, WEIGHTS[:, None], 2.0, None):
        factor = 1.0 if weights is None else np.ravel(weights)
        expected = np.sum(factor * rows * counted) / counted.sum()
        assert float(make()(LABELS, LOGITS, weights)) == pytest.approx(expected, rel=1e-5)
    np.testing.assert_allclose(make(reduction="none")(LABELS, LOGITS, WEIGHTS), WEIGHTS * rows * counted, rtol=1e-5)
    np.testing.assert_allclose(make().call(LABELS, LOGITS), rows * counted, rtol=1e-5)


def test_accuracy_and_fit_have_the_weights_of_keras():
    labels, weights = np.maximum(LABELS, 0), dict(enumerate([0.0, 2.0, 0.5, 1.0, 3.0, 1.5, 1.0]))
    trained = []
    for loss in (MarginSoftmaxLoss(), tf.keras.losses.SparseCategoricalCrossentropy(True)):
        model = tf.keras.Sequential([tf.keras.layers.Dense(7, kernel_initializer="identity", input_shape=[7])])
        model.compile(tf.keras.optimizers.SGD(0.1), loss, weighted_metrics=[LabelledAccuracy()])
        log = model.fit(LOGITS, labels, verbose=0, class_weight=weights).history
        trained.append([*log["loss"], *model.get_weights()[0].ravel()])
    np.testing.assert_allclose(*trained, rtol=1e-5, atol=1e-6)
    right, metric = np.argmax(LOGITS, 1) == LABELS, LabelledAccuracy()
    for weights in (None, WEIGHTS):
        metric.reset_state()
        metric.update_state(LABELS, LOGITS, weights)
        expected = np.average(right, weights=COUNTED * (1.0 if weights is None else weights))
        assert float(metric.result()) == pytest.approx(expected, rel=1e-6)
    metric.reset_state()
    metric.update_state(np.full(4, -1), LOGITS[:4])
    assert float(metric.result()) == 0.0


def test_the_outputs_of_a_recognizer_have_weights_by_name():
    model = build_recognizer(tf.keras.Sequential([tf.keras.layers.Conv2D(3, 3)]), 7, "arcface", 8, (8, 8, 3))
    model.compile("sgd", {"embedding": DDLLoss(), "logits": MarginSoftmaxLoss()})
    inputs = {"image": RNG.uniform(0, 255, [20, 8, 8, 3]).astype(np.float32), "label": LABELS}
    targets = {"embedding": np.stack([LABELS, np.arange(20) % 2], 1), "logits": LABELS}
    # Keras 3 wants all outputs named.
    weights = {"logits": WEIGHTS, "embedding": None} if IS_KERAS_3 else {"logits": WEIGHTS}
    logs = model.evaluate(inputs, targets, sample_weight=weights, verbose=0, return_dict=True)
    expected = float(MarginSoftmaxLoss()(LABELS, model(inputs)["logits"], WEIGHTS))
    assert logs["logits_loss"] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="DDLLoss takes no sample_weight"):
        model.evaluate(inputs, targets, sample_weight=WEIGHTS, verbose=0)


@pytest.mark.parametrize("shape", [(20, 7), (4,), (1, 20)])
def test_weights_of_another_shape_are_refused(shape):
    for loss in (MarginSoftmaxLoss(), LabelledAccuracy().update_state):
        with pytest.raises(ValueError, match="sample_weight must be one weight for each row, got the shape"):
            loss(LABELS, LOGITS, np.ones(shape))
