import naive_ddl
import numpy as np
import pytest
import tensorflow as tf
from batches import make_batch

from ddl_tf.losses import DDLTerm, ddl_metrics

Y_TRUE, Y_PRED = make_batch(groups=3)


def expected_values():
    positives, negatives = naive_ddl.similarities(Y_PRED, *Y_TRUE.T)
    loss, terms = naive_ddl.loss(positives, negatives)
    p, q = ([naive_ddl.histogram(s) for s in kind] for kind in (positives, negatives))
    margins = [np.mean(s) - np.mean(n) for s, n in zip(positives, negatives)]
    values = dict(zip(("positive_kl", "negative_kl", "order"), terms))
    values.update({"loss": loss, **{f"margin_{g}": margin for g, margin in enumerate(margins)}})
    for k in (1, 2):
        values[f"gap_{k}"] = margins[0] - margins[k]
        values[f"positive_overlap_{k}"] = np.minimum(p[0], p[k]).sum()
        values[f"negative_overlap_{k}"] = np.minimum(q[0], q[k]).sum()
    return values


def test_a_metric_is_the_mean_over_the_batches_that_have_its_groups():
    metrics = [*ddl_metrics(num_students=2), DDLTerm("loss")]
    metrics[-1]._terms = metrics[0]._terms  # Traced once.

    @tf.function(input_signature=[tf.TensorSpec([None, 2], tf.int64), tf.TensorSpec([None, 16])])
    def update(y_true, y_pred):
        for metric in metrics:
            metric.update_state(y_true, y_pred)

    def values_of(*batches):
        for metric in metrics:
            metric.reset_state()
        for y_true in batches:
            update(y_true, Y_PRED)
        return {metric.name: float(metric.result()) for metric in metrics}

    expected = expected_values()
    no_students = np.where(Y_TRUE[:, 1:] > 0, -1, Y_TRUE)
    no_positives = Y_TRUE * [0, 1] + np.arange(len(Y_TRUE))[:, None] * [1, 0]
    assert values_of(Y_TRUE) == pytest.approx(expected, rel=1e-3, abs=1e-5)
    of_negatives = {name for name in expected if "negative" in name}
    for lacking, present in ((no_students, {"order", "loss", "margin_0"}), (no_positives, {"loss", *of_negatives})):
        absent = {name: value for name, value in expected.items() if name not in present}
        alone, both = values_of(lacking), values_of(lacking, Y_TRUE, lacking)
        assert {name: alone[name] for name in absent} == dict.fromkeys(absent, 0.0)
        assert {name: both[name] for name in absent} == pytest.approx(absent, rel=1e-3, abs=1e-5)
