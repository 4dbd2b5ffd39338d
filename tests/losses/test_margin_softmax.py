import numpy as np
import pytest

from ddl_tf.losses import LabelledAccuracy, MarginSoftmaxLoss


def naive(labels, logits, smoothing):
    """Mean cross-entropy over the labelled rows, row by row, in float64."""
    losses = []
    for label, row in zip(labels, logits.astype(np.float64)):
        if label < 0:
            continue
        log_softmax = row - np.log(np.sum(np.exp(row - row.max()))) - row.max()
        target = np.full(len(row), smoothing / len(row))
        target[label] += 1 - smoothing
        losses.append(-np.sum(target * log_softmax))
    return np.mean(losses) if losses else 0.0


@pytest.fixture
def batch():
    rng = np.random.default_rng(0)
    labels = rng.integers(-1, 7, 20)
    assert (labels == -1).any()
    return labels, (rng.normal(size=(20, 7)) * 8).astype(np.float32)


@pytest.mark.parametrize("smoothing", [0.0, 0.1])
@pytest.mark.parametrize("column", [False, True])
def test_equals_the_naive_twin(batch, smoothing, column):
    labels, logits = batch
    y_true = labels[:, None] if column else labels
    assert float(MarginSoftmaxLoss(smoothing)(y_true, logits)) == pytest.approx(naive(*batch, smoothing), rel=1e-5)


def test_accuracy_counts_labelled_rows_only(batch):
    labels, logits = batch
    metric = LabelledAccuracy()
    metric.update_state(labels, logits)
    kept = labels >= 0
    assert float(metric.result()) == pytest.approx(np.mean(logits[kept].argmax(1) == labels[kept]))
    metric.reset_state()
    metric.update_state(np.full(4, -1), logits[:4])
    assert float(metric.result()) == 0.0
