"""What holds for any numbers: the numeric entry points on inputs that nobody chose."""

import numpy as np
import pytest
import tensorflow as tf
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from ddl_tf.images.template import ARCFACE_TEMPLATE, similarity_transform
from ddl_tf.layers import ArcFace, CosFace
from ddl_tf.losses import DDLLoss, similarity_distribution
from ddl_tf.metrics import roc
from ddl_tf.metrics.ranks import ranks

SETTINGS = settings(
    max_examples=30, derandomize=True, deadline=None, database=None, suppress_health_check=list(HealthCheck)
)
FEW = settings(SETTINGS, max_examples=12)
# Two digits, so that scores tie within and between the classes.
SCORES = st.integers(-100, 100).map(lambda number: number / 100)
PAIRS = st.lists(st.tuples(SCORES, st.booleans()), min_size=4, max_size=40)


def split(pairs):
    similarity, same = np.array([score for score, _ in pairs]), np.array([mark for _, mark in pairs])
    assume(2 <= same.sum() <= len(same) - 2)
    return similarity, same


@SETTINGS
@given(PAIRS)
def test_roc(pairs):
    similarity, same = split(pairs)
    curve = roc.roc_curve(similarity, same)
    above = similarity[same][:, None] - similarity[~same][None]
    assert roc.auc(*curve) == pytest.approx(np.mean((above > 0) + 0.5 * (above == 0)), abs=1e-12)
    tars = [roc.tar_at_far(*curve, far) for far in (0.01, 0.1, 0.5, 1.0)]
    assert tars == sorted(tars)
    assert 0 <= roc.eer(*curve) <= 1
    # What counts is the order of the scores, and which class is called same.
    assert roc.auc(*roc.roc_curve(similarity * 3 - 1, same)) == pytest.approx(roc.auc(*curve), abs=1e-12)
    assert roc.auc(*roc.roc_curve(-similarity, ~same)) == pytest.approx(roc.auc(*curve), abs=1e-12)


@SETTINGS
@given(st.integers(0, 2**31), st.integers(1, 6), st.integers(1, 12))
def test_ranks(seed, num_probes, num_entries):
    random = np.random.default_rng(seed)
    # Few directions, so that entries tie.
    probes, gallery = (random.integers(-1, 2, [n, 3]) + 0.5 for n in (num_probes, num_entries))
    probes, gallery = (rows / np.linalg.norm(rows, axis=1, keepdims=True) for rows in (probes, gallery))
    people = random.integers(0, 4, num_entries)
    of_probes = random.choice(people, num_probes)
    for probe, person, rank in zip(probes, of_probes, ranks(probes, gallery, of_probes, people)):
        similarity = np.round(gallery @ probe, 6)
        best = similarity[people == person].max()
        others = similarity[people != person]
        assert 1 + np.sum(others > best) <= rank <= 1 + np.sum(others >= best)


@SETTINGS
@given(st.floats(-180, 180), st.floats(0.05, 20), st.floats(-500, 500), st.floats(-500, 500))
def test_similarity_transform(degrees, scale, right, down):
    angle = np.radians(degrees)
    turn = scale * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    points = ARCFACE_TEMPLATE @ turn.T + [right, down]
    matrix = similarity_transform(np.asarray(ARCFACE_TEMPLATE), points)
    np.testing.assert_allclose(ARCFACE_TEMPLATE @ matrix[:, :2].T + matrix[:, 2], points, atol=1e-6 * max(scale, 1))


EMBEDDINGS = arrays.arrays(
    np.float32, st.tuples(st.integers(1, 12), st.integers(1, 5)), elements=st.floats(-100, 100, width=32)
)


@FEW
@given(EMBEDDINGS, st.integers(0, 2**31))
def test_ddl(embeddings, seed):
    random = np.random.default_rng(seed)
    rows = np.stack([random.integers(0, 4, len(embeddings)), random.integers(-1, 3, len(embeddings))], axis=1)
    loss = DDLLoss()

    def value_and_gradient(order):
        inputs = tf.constant(embeddings[order])
        with tf.GradientTape() as tape:
            tape.watch(inputs)
            value = loss(tf.constant(rows[order]), inputs)
        return float(value), tape.gradient(value, inputs).numpy()

    order = random.permutation(len(embeddings))
    value, gradient = value_and_gradient(np.arange(len(embeddings)))
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    assert value_and_gradient(order)[0] == pytest.approx(value, rel=1e-4, abs=1e-5)


@FEW
@given(st.lists(st.floats(-1, 1, width=32), min_size=1, max_size=30))
def test_similarity_distribution(similarities):
    distribution = similarity_distribution(tf.constant(similarities)).numpy()
    assert (distribution >= 0).all()
    assert distribution.sum() == pytest.approx(1, abs=1e-4)


@FEW
@given(EMBEDDINGS, st.sampled_from([ArcFace, CosFace]), st.integers(0, 2**31))
def test_heads(embeddings, head, seed):
    """The margin lowers the target's logit, and no other one."""
    layer = head(3)
    labels = np.random.default_rng(seed).integers(-1, 3, len(embeddings))
    plain, margin = layer(embeddings).numpy(), layer(embeddings, labels).numpy()
    assert np.isfinite(margin).all()
    target = np.arange(3) == labels[:, None]
    np.testing.assert_allclose(margin[~target], plain[~target], atol=1e-4)
    assert (margin[target] <= plain[target] + 1e-4).all()
