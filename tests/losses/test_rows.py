"""Losses on embeddings refuse rows that do not belong to them, and numbers that are not finite."""

import numpy as np
import pytest
import tensorflow as tf
from batches import LOSSES, make_batch
from needs import needs_tensorflow_addons

from ddl_tf import losses
from ddl_tf.losses.embedding_loss import MAX_GROUPS

INF, NAN = float("inf"), float("nan")
every_loss = pytest.mark.parametrize("make", LOSSES)


@every_loss
def test_rows_that_do_not_fit(make):
    for shape, message in (
        ([8, 2], "each embedding must have identity and group, got 8 for 16"),
        ([16, 3], r"rows must be of shape \[batch, 2\], .*, got \(16, 3\)"),
    ):
        with pytest.raises(ValueError, match=message):
            make()(np.zeros(shape, np.int64), tf.ones([16, 4]))
    with pytest.raises(ValueError, match="identity and group of the rows must be int32 or int64, got float32"):
        make()(tf.zeros([16, 2]), tf.ones([16, 4]))
    with pytest.raises(ValueError, match=f"{make.__name__}.*group -1"):
        make()(np.zeros([16, 2], np.int64), tf.ones([16, 4]), tf.ones([16]))


@pytest.mark.parametrize("jit_compile", [False, True])
def test_another_number_of_rows_where_only_the_graph_knows_it(jit_compile):
    loss = losses.DDLLoss(num_groups=2)
    specs = [tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None, 4])]
    function = tf.function(loss, input_signature=specs, jit_compile=jit_compile)
    with pytest.raises(tf.errors.InvalidArgumentError):
        function(tf.zeros([8, 2], tf.int64), tf.ones([16, 4]))


@pytest.mark.parametrize("make, group", [(losses.DDLLoss, MAX_GROUPS), (losses.RKDLoss, 2**32 + 1)])
def test_a_group_beyond_the_bound_is_refused_at_once(make, group):
    rows = tf.constant([[0, 0], [0, 0], [1, group], [1, group]], tf.int64)
    message = f"groups are 0 for the teacher .* at most 1023; the largest is {group}$"
    with pytest.raises(ValueError, match=message):
        make()(rows, tf.ones([4, 4]))
    with pytest.raises(tf.errors.InvalidArgumentError, match="at most 1023"):
        tf.function(make())(rows, tf.ones([4, 4]))


def test_the_largest_group_is_taken_and_one_beyond_num_groups_does_not_wrap():
    rows, embeddings = make_batch(identities=3, rows=2)
    far = np.where(rows == 1, [[1, MAX_GROUPS - 1]], rows)
    near, beyond = (float(losses.DDLLoss()(groups, embeddings)) for groups in (rows, far))
    assert beyond == pytest.approx(near, rel=1e-4)
    away, wraps = (rows * [1, 0] + np.where(rows[:, 1:] == 1, [0, number], [0, 0]) for number in (-1, 2**32))
    loss = losses.DDLLoss(num_groups=2)
    assert float(loss(wraps, embeddings)) == float(loss(away, embeddings))


@every_loss
def test_large_rows_keep_their_direction(make):
    rows, embeddings = make_batch(identities=3, rows=2)
    expected = float(make()(rows, embeddings))
    assert expected != 0.0
    assert float(make()(rows, embeddings * np.float32(1e30))) == pytest.approx(expected, rel=1e-4, abs=1e-6)


@pytest.mark.parametrize(
    "make, message",
    [
        *[
            (lambda name=name: losses.DDLLoss(**{name: NAN}), f"{name} must be finite, got nan")
            for name in ("positive_weight", "negative_weight", "order_weight", "overlap_weight", "positive_threshold")
        ],
        *[
            (lambda ends=ends: losses.DDLLoss(similarity_range=ends), "similarity_range must be .* both finite")
            for ends in ((0.0, INF), (-INF, 1.0), (NAN, 1.0), (1.0, 0.0))
        ],
        (
            lambda: losses.group_similarities(tf.ones([16, 4]), tf.zeros([8], tf.int32), tf.zeros([8], tf.int32)),
            "must have identity and group, got 8 for 16",
        ),
        (
            lambda: losses.DDLTerm("order").update_state([[0, 0], [0, 0]], tf.ones([2, 4]), [1.0, 1.0]),
            "DDLTerm takes no sample_weight",
        ),
        (lambda: losses.DDLLoss(bandwidth=0.0), "bandwidth.*0.0"),
        (lambda: losses.DDLTerm("kl"), "term.*'kl'"),
        (lambda: losses.ExpectationMargin(-1), "group.*-1"),
        (lambda: losses.MarginGap(0), "student.*0"),
        (lambda: losses.DistributionOverlap(1, "both"), "kind.*'both'"),
        (lambda: losses.OHEMLoss(0.0), r"keep_fraction.*0\.0"),
        (lambda: losses.MarginSoftmaxLoss(1.0), "label_smoothing.*1.0"),
        (lambda: losses.MarginSoftmaxLoss(0.1, compact=True), r"label_smoothing must be 0 with a sampled .*0\.1"),
        pytest.param(lambda: losses.TripletLoss(0.0), "margin.*0.0", marks=needs_tensorflow_addons),
        (lambda: losses.DDLLoss(bandwidth=1e-4), "num_nodes / bandwidth must be at most 1,048,576 .* 1000 / 0.0001"),
        (lambda: losses.DDLLoss(num_nodes=10.5), "num_nodes must be a whole number, at least 1, got 10.5"),
        (lambda: losses.DDLLoss(num_groups=10**6), "num_groups must be 1..1024, .* got 1000000"),
        (lambda: losses.similarity_distribution([0.5], bandwidth=-0.1), "bandwidth must be above 0"),
        (lambda: losses.similarity_distribution([0.5, 1.5]), r"similarities must be in \[-1, 1\]; the largest is 1.5"),
        (lambda: losses.distribution_distillation([[0.5]], [[-2.0]]), r"in \[-1, 1\]; the largest is 2.0"),
        (lambda: losses.distribution_distillation([[0.5]], [[0.1]], order_weight=NAN), "order_weight must be finite"),
        (lambda: losses.HistogramLoss(num_bins=1), "num_bins must be a whole number, at least 2, got 1"),
        (lambda: losses.RKDLoss(angle_weight=INF), "angle_weight must be at least 0 and finite, got inf"),
        (lambda: losses.FocalLoss(gamma=INF), "gamma must be at least 0 and finite, got inf"),
    ],
)
def test_arguments_that_are_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()
