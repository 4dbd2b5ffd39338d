"""Heads, losses and metrics refuse labels that are no class numbers, in a graph too; under XLA the loss shows it."""

import numpy as np
import pytest
import tensorflow as tf
from tiny_network import tiny_network  # noqa: F401

from ddl_tf import layers
from ddl_tf.common.class_labels import class_numbers
from ddl_tf.losses import FocalLoss, LabelledAccuracy, MarginSoftmaxLoss, OHEMLoss
from ddl_tf.models import build_recognizer

CLASSES = 10
PLAIN = ["ArcFace", "CosFace", "CombinedMargin", "CurricularFace", "AdaFace", "MagFace", "SubCenterArcFace"]
HEADS = {
    **{name: lambda name=name: getattr(layers, name)(CLASSES) for name in [*PLAIN, "MarginHead"]},
    "sampled": lambda: layers.SampledHead(layers.ArcFace(CLASSES), 0.5),
    "sharded": lambda: layers.ShardedHead(layers.ArcFace(CLASSES)),
}
OUT_OF_RANGE = [CLASSES, -2, -7, 2**32 + 1, 2**33 - 1, -(2**32) - 1]
WRONG = {
    "one-hot": (np.eye(CLASSES, dtype=np.int64)[:4], r"labels \[4, 10\]: give class numbers \[4\]"),
    "float": (np.array([0, 1, 2, 1.9], np.float32), "labels of float32: give class numbers as int32 or int64"),
    "bool": (np.array([True, False, True, True]), "labels of bool: give class numbers"),
    "too few": (np.array([0, 1, 2]), "3 labels with 4 rows: give one label for each row"),
    **{str(bad): (np.array([0, 1, -1, bad]), f"labels must be class numbers 0..9, .* {bad}") for bad in OUT_OF_RANGE},
}
EMBEDDINGS = np.random.default_rng(0).normal(size=(4, 8)).astype(np.float32)


def in_a_graph(function, *arguments):
    """The function, traced without the number of rows and the range of the labels."""
    specs = [tf.TensorSpec([None, *np.shape(x)[1:]], tf.convert_to_tensor(x).dtype) for x in arguments]
    return tf.function(function, input_signature=specs)(*map(tf.constant, arguments))


@pytest.mark.parametrize("name", HEADS)
def test_heads_refuse_them(name):
    head = HEADS[name]()
    for labels, message in WRONG.values():
        with pytest.raises(ValueError, match=message):
            head(EMBEDDINGS, tf.constant(labels), training=True)
    for labels in ([0, 1, 2, CLASSES], [0, 1, 2]):
        with pytest.raises(tf.errors.InvalidArgumentError):
            in_a_graph(head, EMBEDDINGS, np.array(labels))


@pytest.mark.parametrize("name", ["ArcFace", "AdaFace", "SubCenterArcFace", "sampled", "sharded"])
def test_under_xla_the_row_is_not_a_number(name):
    head = HEADS[name]()
    compiled = tf.function(head, jit_compile=True)
    logits = compiled(EMBEDDINGS, tf.constant([0, 1, -1, CLASSES])).numpy()
    assert np.isnan(logits).any(axis=1).tolist() == [False, False, False, True]
    loss = MarginSoftmaxLoss(compact=head.compact)
    assert np.isnan(loss(tf.constant([0, 1, -1, 3]), logits))


def test_losses_and_the_accuracy_refuse_them():
    accuracy, compact = LabelledAccuracy().update_state, LabelledAccuracy(compact=True).update_state
    for compare in (MarginSoftmaxLoss(), MarginSoftmaxLoss(0.1), FocalLoss(), OHEMLoss(), accuracy):
        for labels, message in WRONG.values():
            with pytest.raises(ValueError, match=message):
                compare(labels, tf.zeros([4, CLASSES]))
    for compare in (MarginSoftmaxLoss(compact=True), compact):
        with pytest.raises(ValueError, match=r"compact=True takes \[batch, 3\]"):
            compare([0, 1], tf.zeros([2, CLASSES]))
    labels, extra = class_numbers(np.array([[3], [0]], np.uint8), tf.zeros([2, 5]), 4)
    assert (labels.numpy().tolist(), extra.numpy().tolist()) == ([3, 0], [0.0, 0.0])


@pytest.mark.parametrize("make", [MarginSoftmaxLoss, FocalLoss, OHEMLoss])
def test_under_xla_the_loss_is_not_a_number(make):
    compiled = tf.function(make(), jit_compile=True)
    logits = tf.random.stateless_normal([4, CLASSES], seed=[0, 0])
    assert np.isnan(compiled(tf.constant([0, 1, 2, CLASSES]), logits))
    assert np.isnan(compiled(tf.constant([0, 1, 2, -2]), logits))
    np.testing.assert_allclose(compiled(tf.constant([0, 1, 2, -1]), logits), make()([0, 1, 2, -1], logits), rtol=1e-5)


def test_fit_refuses_them():
    model = build_recognizer("plain_small", CLASSES, embedding_size=8, input_shape=(16, 16, 3))
    for labels, error, message in (
        (
            np.eye(CLASSES, dtype=np.int64)[:4],
            ValueError,
            r"labels \[.*, 10\]: give class numbers|Invalid input shape for input",
        ),
        (np.array([0, 1, 2, 2**32 + 1]), tf.errors.InvalidArgumentError, "labels must be class numbers 0..9"),
    ):
        model.compile("sgd", loss={"logits": MarginSoftmaxLoss()})
        with pytest.raises(error, match=message):
            model.fit({"image": np.zeros([4, 16, 16, 3]), "label": labels}, {"logits": labels}, verbose=0)
    # Before Keras casts it, where it would wrap.
    with pytest.raises(ValueError, match=r"labels must be class numbers 0\.\.9, or -1 for none; got 4294967297"):
        model({"image": tf.zeros([1, 16, 16, 3]), "label": tf.constant([2**32 + 1])})
