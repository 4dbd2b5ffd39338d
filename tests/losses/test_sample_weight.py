"""`sample_weight` and `class_weight` are Keras': sum(weight * loss) / N, N the rows that count."""

import numpy as np
import pytest
import tensorflow as tf

from ddl_tf.losses import DDLLoss, DDLTerm, FocalLoss, LabelledAccuracy, MarginSoftmaxLoss, OHEMLoss
from ddl_tf.losses.margin_softmax import LabelledRowsLoss
from ddl_tf.models import build_recognizer

RNG = np.random.default_rng(0)
LABELS = np.array([2, 0, 5, 1, 3, 3, 4, 0])
SOME_LABELS = np.array([2, 0, 5, 1, -1, -1, 4, -1])
LOGITS = (4 * RNG.normal(size=(8, 6))).astype(np.float32)
WEIGHTS = np.array([0.0, 1.0, 2.5, 0.5, 3.0, 0.0, 1.0, 2.0], np.float32)
LOSSES = {
    "margin softmax": MarginSoftmaxLoss,
    "smoothed": lambda **kwargs: MarginSoftmaxLoss(0.1, **kwargs),
    "focal": FocalLoss,
    "ohem": lambda **kwargs: OHEMLoss(keep_fraction=0.4, **kwargs),
}
every_loss = pytest.mark.parametrize("make", LOSSES.values(), ids=LOSSES)


def row_losses(make, labels):
    """The loss of each row, computed in a batch of its own (where OHEM keeps it), and which rows count."""
    rows = np.array([0.0 if k < 0 else float(make()(labels[[i]], LOGITS[[i]])) for i, k in enumerate(labels)])
    counted = labels >= 0
    if isinstance(make(), OHEMLoss):
        kept = max(1, int(0.4 * counted.sum() + 0.5))
        counted &= rows >= np.sort(rows[counted])[-kept]
    return rows, counted


@every_loss
@pytest.mark.parametrize("labels", [LABELS, SOME_LABELS], ids=["all labelled", "some"])
def test_a_weight_multiplies_the_loss_of_its_row(make, labels):
    rows, counted = row_losses(make, labels)
    expected = np.sum(WEIGHTS * rows * counted) / counted.sum()
    for weights in (WEIGHTS, WEIGHTS[:, None]):
        assert float(make()(labels, LOGITS, weights)) == pytest.approx(expected, rel=1e-5)
    assert float(make()(labels, LOGITS)) == pytest.approx(np.sum(rows * counted) / counted.sum(), rel=1e-5)
    np.testing.assert_allclose(make(reduction="none")(labels, LOGITS, WEIGHTS), WEIGHTS * rows * counted, rtol=1e-5)
    np.testing.assert_allclose(make().call(labels, LOGITS), rows * counted, rtol=1e-5)


@pytest.mark.parametrize("weights", [WEIGHTS, [0.0] * 8, 2.0], ids=["some", "zero", "one for all"])
def test_it_is_what_keras_gives(weights):
    keras = tf.keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    expected = float(keras(LABELS, LOGITS, tf.constant(weights)))
    assert float(MarginSoftmaxLoss()(LABELS, LOGITS, weights)) == pytest.approx(expected, rel=1e-5)


def test_a_row_without_label_stays_out_whatever_its_weight():
    weights = np.where(SOME_LABELS < 0, 1000.0, 1.0)
    for make in LOSSES.values():
        assert float(make()(SOME_LABELS, LOGITS, weights)) == float(make()(SOME_LABELS, LOGITS))


def test_other_shapes_are_refused():
    for loss in (MarginSoftmaxLoss(), LabelledAccuracy().update_state):
        for weights in (np.ones([8, 6]), np.ones([4]), np.ones([1, 8])):
            with pytest.raises(ValueError, match=r"sample_weight .*: give one weight for each row"):
                loss(LABELS, LOGITS, weights)


def network(loss):
    inputs = tf.keras.Input([6])
    model = tf.keras.Model(inputs, tf.keras.layers.Dense(6, kernel_initializer="identity")(inputs))
    model.compile(tf.keras.optimizers.SGD(0.1), loss, weighted_metrics=[LabelledAccuracy()])
    return model


@pytest.mark.parametrize("kind", ["sample_weight", "class_weight"])
def test_fit_trains_as_with_the_loss_of_keras(kind):
    weights = {"sample_weight": WEIGHTS, "class_weight": dict(enumerate([0.0, 2.0, 0.5, 1.0, 3.0, 1.5]))}[kind]
    ours, keras = (network(loss) for loss in (MarginSoftmaxLoss(), tf.keras.losses.SparseCategoricalCrossentropy(True)))
    logs = [model.fit(LOGITS, LABELS, verbose=0, **{kind: weights}).history["loss"] for model in (ours, keras)]
    assert logs[0] == pytest.approx(logs[1], rel=1e-5)
    for mine, wanted in zip(ours.get_weights(), keras.get_weights()):
        np.testing.assert_allclose(mine, wanted, atol=1e-6)


def test_the_outputs_of_a_recognizer_have_weights_by_name():
    model = build_recognizer("plain_small", 6, embedding_size=8, input_shape=(16, 16, 3))
    model.compile("sgd", {"embedding": DDLLoss(), "logits": MarginSoftmaxLoss()})
    inputs = {"image": RNG.uniform(0, 255, [8, 16, 16, 3]).astype(np.float32), "label": LABELS}
    targets = {"embedding": np.stack([LABELS, np.arange(8) % 2], 1), "logits": LABELS}
    logits = model(inputs)["logits"]
    logs = model.evaluate(inputs, targets, sample_weight={"logits": WEIGHTS}, verbose=0, return_dict=True)
    expected = float(MarginSoftmaxLoss()(LABELS, logits, WEIGHTS))
    assert logs["logits_loss"] == pytest.approx(expected, rel=1e-4)
    with pytest.raises(ValueError, match="DDLLoss takes no sample_weight"):
        model.evaluate(inputs, targets, sample_weight=WEIGHTS, verbose=0)


def test_the_accuracy_is_the_weighted_share():
    right = np.argmax(LOGITS, 1) == SOME_LABELS
    weights = WEIGHTS * (SOME_LABELS >= 0)
    metric = LabelledAccuracy()
    metric.update_state(SOME_LABELS, LOGITS, WEIGHTS)
    assert float(metric.result()) == pytest.approx(np.sum(right * weights) / np.sum(weights), rel=1e-6)


def test_metrics_of_distributions_refuse_weights():
    with pytest.raises(ValueError, match="DDLTerm takes no sample_weight"):
        DDLTerm("order").update_state([[0, 0], [0, 0]], tf.ones([2, 4]), [1.0, 1.0])


@pytest.mark.parametrize("rows, kept", [(5, 3), (7, 4), (4, 2), (1, 1)])
def test_half_a_row_is_rounded_up(rows, kept):
    logits = np.arange(rows, dtype=np.float32)[:, None] * [[0, 1]]
    losses = LabelledRowsLoss(reduction="none")(np.zeros(rows, int), logits).numpy()
    assert float(OHEMLoss(0.5)(np.zeros(rows, int), logits)) == pytest.approx(np.mean(np.sort(losses)[-kept:]))
