import inspect
from pathlib import Path

import naive_ddl
import numpy as np
import pytest
import tensorflow as tf
from keras_case import loss_and_gradient

from ddl_tf.losses import DDLLoss, distribution_distillation, similarity_distribution

GOLDEN = Path(__file__).resolve().parents[1] / "golden" / "ddl_golden.npz"


def make_batch(groups=2, identities=5, rows=4, dim=16, seed=0, noise=1.0):
    """Rows of `groups` groups; later groups are noisier, so that their distributions differ."""
    rng = np.random.default_rng(seed)
    centers = rng.normal(size=(identities, dim))
    identity = np.tile(np.repeat(np.arange(identities), rows), groups)
    group = np.repeat(np.arange(groups), identities * rows)
    embeddings = centers[identity] + rng.normal(size=(len(identity), dim)) * (0.4 + noise * group[:, None])
    order = rng.permutation(len(identity))
    return np.stack([identity, group], 1)[order], (3 * embeddings[order]).astype(np.float32)


@pytest.mark.parametrize("case", [0, 1, 2])
def test_equals_the_authors_code(case):
    golden = np.load(GOLDEN)

    def get(key):
        return golden[f"case{case}/{key}"]

    inputs = [tf.Variable(get(key).astype(np.float32)) for key in ("neg", "first", "second")]
    with tf.GradientTape() as tape:
        negative, first, second = (tf.math.l2_normalize(x, -1) for x in inputs)
        # The authors take the row maximum of the strict upper triangle, zeros included.
        similarity = tf.matmul(negative, negative, transpose_b=True)
        upper = tf.linalg.band_part(similarity, 0, -1) - tf.linalg.diag(tf.linalg.diag_part(similarity))
        negatives = tf.unstack(tf.reduce_max(upper, axis=2))
        positives = [s[s > 0] for s in tf.unstack(tf.reduce_sum(first * second, axis=2))]
        terms = distribution_distillation(positives, negatives)
    gradient = np.stack(tape.gradient(terms.loss, inputs), 1)
    np.testing.assert_allclose(terms.loss, get("loss"), rtol=1e-5)
    for kind, key in (("positive", "pos"), ("negative", "neg")):
        np.testing.assert_allclose(getattr(terms, f"{kind}_kl"), get(f"{key}_kl").sum(), rtol=1e-4)
        np.testing.assert_allclose(getattr(terms, f"{kind}_means"), get(f"{key}_mean"), rtol=1e-5)
        np.testing.assert_allclose(getattr(terms, f"{kind}_distributions"), get(f"{key}_hist"), atol=1e-7)
    np.testing.assert_allclose(gradient, get("grad"), atol=1e-4 * np.abs(get("grad")).max())


def test_every_argument_counts_as_the_twin_says():
    y_true, y_pred = make_batch()
    positives, negatives = naive_ddl.similarities(y_pred, y_true[:, 0], y_true[:, 1], threshold=0.3)
    expected, _ = naive_ddl.loss(
        positives, negatives, weights=(1.0, 2.0, 3.0), num_nodes=50, low=-1.0, high=1.0, bandwidth=0.05
    )
    loss = DDLLoss(1.0, 2.0, 3.0, 50, (-1.0, 1.0), 0.05, 0.3)
    assert float(loss(y_true, y_pred)) == pytest.approx(expected, rel=1e-4)


def test_teacher_gradient_can_be_stopped():
    y_true, y_pred = make_batch()
    for stop in (True, False):
        loss = DDLLoss(order_weight=0.0, stop_teacher_gradient=stop)
        _, gradient = loss_and_gradient(loss, y_true, y_pred)
        assert np.any(gradient[y_true[:, 1] == 1] != 0)
        assert np.any(gradient[y_true[:, 1] == 0] != 0) != stop


def edge_cases():
    y_true, y_pred = make_batch()
    rows_of_cases = {
        "teacher only": y_true * [1, 0],
        "student only": y_true * [1, 0] + [0, 1],
        "a student with a gap before it": y_true * [1, 3],
        "one identity": y_true * [0, 1] + [7, 0],
        "no positive pair": y_true * [0, 1] + np.arange(len(y_true))[:, None] * [1, 0],
        "nobody takes part": y_true * [1, 0] - [0, 1],
    }
    alternating = np.where(np.arange(len(y_pred))[:, None] % 2, 1.0, -1.0)
    return {
        **{name: (rows, y_pred) for name, rows in rows_of_cases.items()},
        "zero embeddings": (y_true, np.zeros_like(y_pred)),
        "equal embeddings": (y_true, np.ones_like(y_pred)),
        "opposite embeddings": (y_true, (alternating * np.ones_like(y_pred)).astype(np.float32)),
        "one row": (y_true[:1], y_pred[:1]),
        "no row": (y_true[:0], y_pred[:0]),
    }


def test_missing_terms_are_zero():
    cases = edge_cases()
    loss = DDLLoss()
    assert not similarity_distribution(tf.zeros([0])).numpy().any()
    terms = loss.terms(*cases["teacher only"])
    assert float(terms.positive_kl) == float(terms.negative_kl) == 0.0
    positives, negatives = naive_ddl.similarities(cases["teacher only"][1], *cases["teacher only"][0].T)
    assert float(terms.order) == pytest.approx(np.mean(negatives[0]) - np.mean(positives[0]), rel=1e-4)
    terms = loss.terms(*cases["one identity"])
    assert float(terms.negative_kl) == float(terms.order) == 0.0
    assert float(terms.positive_kl) > 0.0
    terms = loss.terms(*cases["no positive pair"])
    assert float(terms.positive_kl) == float(terms.order) == 0.0
    assert float(terms.negative_kl) > 0.0
    for name in ("nobody takes part", "one row", "no row"):
        value, gradient = loss_and_gradient(loss, *cases[name])
        assert value == 0.0
        assert not gradient.any()


def test_serialization_keeps_every_argument():
    loss = DDLLoss(1.0, 2.0, 3.0, 10, (-0.5, 0.5), 0.2, 0.1, stop_teacher_gradient=True, gather=False, num_groups=3)
    again = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert type(again) is DDLLoss
    assert again.get_config() == loss.get_config()
    changed = {name for name, value in DDLLoss().get_config().items() if value != again.get_config()[name]}
    assert changed == set(inspect.signature(DDLLoss).parameters) - {"name", "kwargs"}
