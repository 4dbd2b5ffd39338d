import naive_ddl
import numpy as np
import pytest
from batches import make_batch

from ddl_tf.losses import DDLTerm, ddl_metrics


@pytest.fixture
def batch():
    return make_batch(groups=3)


def expected_values(y_true, y_pred):
    positives, negatives = naive_ddl.similarities(y_pred, y_true[:, 0], y_true[:, 1])
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


def test_equal_the_naive_twin(batch):
    expected = expected_values(*batch)
    metrics = [*ddl_metrics(num_students=2), DDLTerm("loss")]
    assert {metric.name for metric in metrics} == set(expected)
    for metric in metrics:
        metric.update_state(*batch)
        assert float(metric.result()) == pytest.approx(expected[metric.name], rel=1e-3, abs=1e-5), metric.name


def test_a_metric_is_the_mean_over_the_batches_that_have_its_groups(batch):
    y_true, y_pred = batch
    expected = expected_values(*batch)
    # No student, and no two rows of a person, hence no positives.
    no_students = np.where(y_true > [y_true.max(), 0], -1, y_true)
    no_positives = y_true * [0, 1] + np.arange(len(y_true))[:, None] * [1, 0]
    for metric in ddl_metrics(num_students=2):
        if metric.name != "margin_0":
            lacking = no_positives if metric.name == "order" else no_students
            metric.update_state(lacking, y_pred)
            assert float(metric.result()) == 0.0
            metric.update_state(y_true, y_pred)
            metric.update_state(lacking, y_pred)
            assert float(metric.result()) == pytest.approx(expected[metric.name], rel=1e-3), metric.name
