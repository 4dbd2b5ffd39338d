from pathlib import Path

import naive_ddl
import numpy as np
import pytest
import tensorflow as tf
from batches import edge_cases, make_batch
from keras_case import loss_and_gradient

from ddl_tf.losses import DDLLoss, RKDLoss, SPLoss, distribution_distillation, similarity_distribution

GOLDEN = np.load(Path(__file__).resolve().parents[1] / "golden" / "ddl_golden.npz")


@pytest.mark.parametrize("case", [0, 1, 2])
def test_equals_the_authors_code(case):
    golden = {key.partition("/")[2]: GOLDEN[key] for key in GOLDEN if key.startswith(f"case{case}/")}
    inputs = [tf.Variable(golden[key].astype(np.float32)) for key in ("neg", "first", "second")]
    with tf.GradientTape() as tape:
        negative, first, second = (tf.math.l2_normalize(x, -1) for x in inputs)
        # The authors take the row maximum of the strict upper triangle, zeros included.
        similarity = tf.matmul(negative, negative, transpose_b=True)
        upper = tf.linalg.band_part(similarity, 0, -1) - tf.linalg.diag(tf.linalg.diag_part(similarity))
        negatives = tf.unstack(tf.reduce_max(upper, axis=2))
        positives = [s[s > 0] for s in tf.unstack(tf.reduce_sum(first * second, axis=2))]
        terms = distribution_distillation(positives, negatives)
    gradient = np.stack(tape.gradient(terms.loss, inputs), 1)
    np.testing.assert_allclose(terms.loss, golden["loss"], rtol=1e-5)
    for kind, key in (("positive", "pos"), ("negative", "neg")):
        np.testing.assert_allclose(getattr(terms, f"{kind}_kl"), golden[f"{key}_kl"].sum(), rtol=1e-4)
        np.testing.assert_allclose(getattr(terms, f"{kind}_means"), golden[f"{key}_mean"], rtol=1e-5)
        np.testing.assert_allclose(getattr(terms, f"{kind}_distributions"), golden[f"{key}_hist"], atol=1e-7)
    np.testing.assert_allclose(gradient, golden["grad"], atol=1e-4 * np.abs(golden["grad"]).max())


def test_every_argument_counts():
    y_true, y_pred = make_batch()
    similarities = naive_ddl.similarities(y_pred, y_true[:, 0], y_true[:, 1], threshold=0.3)
    expected, _ = naive_ddl.loss(
        *similarities, weights=(1.0, 2.0, 3.0), num_nodes=50, low=-1.0, high=1.0, bandwidth=0.05
    )
    loss = DDLLoss(1.0, 2.0, 3.0, 50, (-1.0, 1.0), 0.05, 0.3)
    assert float(loss(y_true, y_pred)) == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize("loss_class, arguments", [(DDLLoss, {"order_weight": 0.0}), (RKDLoss, {}), (SPLoss, {})])
def test_teacher_gradient_can_be_stopped(loss_class, arguments):
    y_true, y_pred = make_batch()
    for stop in (True, False):
        _, gradient = loss_and_gradient(loss_class(stop_teacher_gradient=stop, **arguments), y_true, y_pred)
        assert np.any(gradient[y_true[:, 1] == 1] != 0)
        assert np.any(gradient[y_true[:, 1] == 0] != 0) != stop


def test_missing_terms_are_zero():
    assert not similarity_distribution(tf.zeros([0])).numpy().any()
    cases = edge_cases()
    terms = {name: DDLLoss().terms(*cases[name]) for name in ("teacher only", "one identity", "no positive pair")}
    zero = {
        name: {key for key in ("positive_kl", "negative_kl", "order") if float(getattr(part, key)) == 0.0}
        for name, part in terms.items()
    }
    assert zero == {
        "teacher only": {"positive_kl", "negative_kl"},
        "one identity": {"negative_kl", "order"},
        "no positive pair": {"positive_kl", "order"},
    }
    positives, negatives = naive_ddl.similarities(cases["teacher only"][1], *cases["teacher only"][0].T)
    expected = np.mean(negatives[0]) - np.mean(positives[0])
    assert float(terms["teacher only"].order) == pytest.approx(expected, rel=1e-4)
