import naive_ddl
import numpy as np
import pytest
from test_ddl import make_batch

from ddl_tf.losses import DDLTerm, DistributionOverlap, ExpectationMargin, MarginGap, ddl_metrics


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


def test_mean_over_batches_without_those_that_lack_the_group(batch):
    y_true, y_pred = batch
    without_students = np.where(y_true[:, 1:] > 0, -1, y_true[:, 1:])
    lacking = np.concatenate([y_true[:, :1], without_students], 1)
    for metric in (MarginGap(1), DistributionOverlap(2), ExpectationMargin(2)):
        metric.update_state(lacking, y_pred)
        assert float(metric.result()) == 0.0
        metric.update_state(y_true, y_pred)
        assert float(metric.result()) == pytest.approx(expected_values(*batch)[metric.name], rel=1e-3)


@pytest.mark.parametrize("term", ["positive_kl", "negative_kl", "order"])
def test_a_term_is_the_mean_over_the_batches_that_have_its_groups(batch, term):
    y_true, y_pred = batch
    lacking = y_true.copy()
    if term == "order":
        # No two rows of a person: no positives.
        lacking[:, 0] = np.arange(len(lacking))
    else:
        lacking[:, 1] = np.where(lacking[:, 1] > 0, -1, lacking[:, 1])
    metric = DDLTerm(term)
    for rows in (lacking, y_true, lacking):
        metric.update_state(rows, y_pred)
    assert float(metric.result()) == pytest.approx(expected_values(*batch)[term], rel=1e-3)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: DDLTerm("kl"), "term.*'kl'"),
        (lambda: ExpectationMargin(-1), "group.*-1"),
        (lambda: MarginGap(0), "student.*0"),
        (lambda: DistributionOverlap(1, "both"), "kind.*'both'"),
    ],
)
def test_bad_arguments_are_named(make, message):
    with pytest.raises(ValueError, match=message):
        make()
