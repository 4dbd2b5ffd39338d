from pathlib import Path

import naive_ddl
import numpy as np
import pytest
import tensorflow as tf

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


def loss_and_gradient(loss, y_true, y_pred):
    y_pred = tf.convert_to_tensor(y_pred)
    with tf.GradientTape() as tape:
        tape.watch(y_pred)
        value = loss(tf.convert_to_tensor(y_true), y_pred)
    return float(value), tape.gradient(value, y_pred).numpy()


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
    np.testing.assert_allclose(terms.positive_kl, get("pos_kl").sum(), rtol=1e-4)
    np.testing.assert_allclose(terms.negative_kl, get("neg_kl").sum(), rtol=1e-4)
    np.testing.assert_allclose(terms.positive_means, get("pos_mean"), rtol=1e-5)
    np.testing.assert_allclose(terms.negative_means, get("neg_mean"), rtol=1e-5)
    np.testing.assert_allclose(terms.positive_distributions, get("pos_hist"), atol=1e-7)
    np.testing.assert_allclose(terms.negative_distributions, get("neg_hist"), atol=1e-7)
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
    teacher_only, student_only, one_identity, nobody = (y_true.copy() for _ in range(4))
    teacher_only[:, 1], student_only[:, 1], one_identity[:, 0], nobody[:, 1] = 0, 1, 7, -1
    alternating = np.where(np.arange(len(y_pred))[:, None] % 2, 1.0, -1.0)
    lonely = y_true.copy()
    lonely[:, 0] = np.arange(len(lonely))
    return {
        "teacher only": (teacher_only, y_pred),
        "student only": (student_only, y_pred),
        "a student with a gap before it": (y_true * [1, 3], y_pred),
        "one identity": (one_identity, y_pred),
        "no positive pair": (lonely, y_pred),
        "nobody takes part": (nobody, y_pred),
        "zero embeddings": (y_true, np.zeros_like(y_pred)),
        "equal embeddings": (y_true, np.ones_like(y_pred)),
        "opposite embeddings": (y_true, (alternating * np.ones_like(y_pred)).astype(np.float32)),
        "one row": (y_true[:1], y_pred[:1]),
        "no row": (y_true[:0], y_pred[:0]),
    }


def test_missing_terms_are_zero():
    cases = edge_cases()
    loss = DDLLoss()
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


def test_distribution_of_nothing_is_zero():
    assert not similarity_distribution(tf.zeros([0])).numpy().any()


def test_serialization_keeps_every_argument():
    arguments = {
        "positive_weight": 1.0,
        "negative_weight": 2.0,
        "order_weight": 3.0,
        "num_nodes": 10,
        "similarity_range": (-0.5, 0.5),
        "bandwidth": 0.2,
        "positive_threshold": 0.1,
        "stop_teacher_gradient": True,
        "gather": False,
        "num_groups": 3,
        "name": "other",
    }
    loss = DDLLoss(**arguments)
    again = tf.keras.losses.deserialize(tf.keras.losses.serialize(loss))
    assert type(again) is DDLLoss
    assert {key: value for key, value in again.get_config().items() if key in arguments} == arguments


@pytest.mark.parametrize(
    "argument",
    [{"num_nodes": 0}, {"num_groups": 0}, {"bandwidth": 0.0}, {"similarity_range": (1.0, 0.0)}],
    ids=lambda a: next(iter(a)),
)
def test_bad_arguments_are_named(argument):
    ((name, value),) = argument.items()
    with pytest.raises(ValueError, match=f"{name}.*{value}".replace("(", r"\(").replace(")", r"\)")):
        DDLLoss(**argument)


def test_trains_alone_and_closes_the_gap():
    y_true, y_pred = make_batch(identities=8)
    model = tf.keras.Sequential([tf.keras.Input([16]), tf.keras.layers.Dense(8, use_bias=False)])
    model.compile(tf.keras.optimizers.Adam(0.05), loss=DDLLoss(num_nodes=100))
    history = model.fit(y_pred, y_true, batch_size=len(y_true), epochs=10, shuffle=False, verbose=0)
    assert history.history["loss"][-1] < history.history["loss"][0] - 0.1
