from pathlib import Path

import naive_ddl
import numpy as np
import pytest
import tensorflow as tf
from batches import edge_cases, make_batch
from keras_case import loss_and_gradient
from scipy.stats import norm

from ddl_tf import losses
from ddl_tf.losses import DDLLoss, distribution_distillation

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
    expected, _ = naive_ddl.loss(*similarities, (1.0, 2.0, 3.0, 4.0), num_nodes=50, low=-1.0, high=1.0, bandwidth=0.05)
    value = float(DDLLoss(1.0, 2.0, 3.0, 50, (-1.0, 1.0), 0.05, 0.3, overlap_weight=4.0)(y_true, y_pred))
    assert value == pytest.approx(expected, rel=1e-4)


@pytest.mark.parametrize(
    "positive, negative, bandwidth", [(0.5, 0.3, 0.1), (0.3, 0.5, 0.1), (0.4, 0.4, 0.05), (0.6, 0.2, 0.02)]
)
def test_overlap_of_two_similarities_is_that_of_two_normal_distributions(positive, negative, bandwidth):
    """The probability that one normal draw exceeds another; half of those that share a node are counted too much."""
    terms = distribution_distillation([[positive]], [[negative]], bandwidth=bandwidth, similarity_range=(-1.0, 1.5))
    p, q = terms.positive_distributions[0].numpy(), terms.negative_distributions[0].numpy()
    expected = norm.cdf((negative - positive) / (bandwidth * np.sqrt(2)))
    assert float(terms.overlap) - 0.5 * np.dot(p, q) == pytest.approx(expected, abs=1e-5)


def test_overlap_pulls_a_groups_own_distributions_apart():
    y_true, y_pred = make_batch()
    loss = DDLLoss(0.0, 0.0, 0.0, overlap_weight=1.0)
    before, gradient = loss_and_gradient(loss, y_true, y_pred)
    after = float(loss(y_true, y_pred - 0.1 * gradient / np.abs(gradient).max()))
    assert after < before
    # The teacher's own distributions too.
    assert np.any(gradient[y_true[:, 1] == 0] != 0)


@pytest.mark.parametrize(
    "loss_class, arguments", [(DDLLoss, {"order_weight": 0.0}), (losses.RKDLoss, {}), (losses.SPLoss, {})]
)
def test_teacher_gradient_can_be_stopped(loss_class, arguments):
    y_true, y_pred = make_batch()
    for stop in (True, False):
        _, gradient = loss_and_gradient(loss_class(stop_teacher_gradient=stop, **arguments), y_true, y_pred)
        assert np.any(gradient[y_true[:, 1] == 1] != 0)
        assert np.any(gradient[y_true[:, 1] == 0] != 0) != stop


def test_missing_terms_are_zero():
    assert not losses.similarity_distribution(tf.zeros([0])).numpy().any()
    cases = edge_cases()
    terms = {name: DDLLoss().terms(*cases[name]) for name in ("teacher only", "one identity", "no positive pair")}
    zero = {
        name: {key for key in ("positive_kl", "negative_kl", "order", "overlap") if float(getattr(part, key)) == 0.0}
        for name, part in terms.items()
    }
    assert zero == {
        "teacher only": {"positive_kl", "negative_kl"},
        "one identity": {"negative_kl", "order", "overlap"},
        "no positive pair": {"positive_kl", "order", "overlap"},
    }
    positives, negatives = naive_ddl.similarities(cases["teacher only"][1], *cases["teacher only"][0].T)
    expected = np.mean(negatives[0]) - np.mean(positives[0])
    assert float(terms["teacher only"].order) == pytest.approx(expected, rel=1e-4)


def test_a_metric_is_the_mean_over_the_batches_that_have_its_groups():
    rows, embeddings = make_batch(groups=3)
    positives, negatives = naive_ddl.similarities(embeddings, *rows.T)
    loss, terms = naive_ddl.loss(positives, negatives)
    p, q = ([naive_ddl.histogram(s) for s in kind] for kind in (positives, negatives))
    margins = [np.mean(s) - np.mean(n) for s, n in zip(positives, negatives)]
    expected = dict(zip(("positive_kl", "negative_kl", "order", "overlap"), terms))
    expected.update({"loss": loss, **{f"margin_{g}": margin for g, margin in enumerate(margins)}})
    for k in (1, 2):
        expected[f"gap_{k}"] = margins[0] - margins[k]
        expected[f"positive_overlap_{k}"] = np.minimum(p[0], p[k]).sum()
        expected[f"negative_overlap_{k}"] = np.minimum(q[0], q[k]).sum()
    metrics = [*losses.ddl_metrics(num_students=2), losses.DDLTerm("loss")]
    metrics[-1]._terms = metrics[0]._terms  # Traced once.

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None, 16])])
    def update(y_true, y_pred):
        for metric in metrics:
            metric.update_state(y_true, y_pred)

    def values_of(*batches):
        for metric in metrics:
            metric.reset_state()
        for y_true in batches:
            update(y_true, embeddings)
        return {metric.name: float(metric.result()) for metric in metrics}

    no_students = np.where(rows[:, 1:] > 0, -1, rows)
    no_positives = rows * [0, 1] + np.arange(len(rows))[:, None] * [1, 0]
    assert values_of(rows) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    of_negatives = {name for name in expected if "negative" in name}
    for lacking, present in (
        (no_students, {"order", "overlap", "loss", "margin_0"}),
        (no_positives, {"loss", *of_negatives}),
    ):
        absent = {name: value for name, value in expected.items() if name not in present}
        alone, both = values_of(lacking), values_of(lacking, rows, lacking)
        assert {name: alone[name] for name in absent} == dict.fromkeys(absent, 0.0)
        assert {name: both[name] for name in absent} == pytest.approx(absent, rel=1e-3, abs=1e-5)
