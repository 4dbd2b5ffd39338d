"""Keras metrics that show what Distribution Distillation Loss does while it trains."""

import abc
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.losses.ddl import DDLLoss
from ddl_tf.losses.distributions import DistributionTerms

TERMS = ("positive_kl", "negative_kl", "order", "overlap", "loss")
KINDS = ("positive", "negative")


class _Terms:
    """The terms of the last batch, for metrics that look at one batch in turn."""

    def __init__(self, loss: DDLLoss) -> None:
        self._loss = loss
        self._last: tuple[Any, ...] = (None, None, None)

    def of(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> DistributionTerms:
        # One read and one write of the tuple, for replicas that are traced in threads.
        rows, embeddings, terms = self._last
        if rows is not y_true or embeddings is not y_pred:
            terms = self._loss.terms(y_true, tf.stop_gradient(y_pred))
            if tf.is_symbolic_tensor(y_pred):
                self._last = (y_true, y_pred, terms)
        return terms


class _DistributionMetric(tf.keras.metrics.Mean):
    """The mean over batches of a number of the distributions; a batch that lacks the number does not count."""

    def __init__(self, name: str, dtype: Any, loss_arguments: dict[str, Any], **settings: Any) -> None:
        super().__init__(name=name, dtype=dtype)
        if settings.get("student", 1) < 1:
            raise ValueError(f"student must be 1 or above, got {settings['student']!r}")
        self._terms = _Terms(DDLLoss(**loss_arguments))
        self._arguments = {**loss_arguments, **settings}

    @abc.abstractmethod
    def measure(self, terms: DistributionTerms) -> tuple[tf.Tensor, tf.Tensor]:
        """Read the number off the terms of one batch: `[]` value, and `[]` bool whether it exists."""

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Optional[tf.Tensor] = None) -> Any:
        """Add a batch of rows `[batch, 2]` and embeddings; a `sample_weight` is refused (ValueError)."""
        if sample_weight is not None:
            raise ValueError(
                f"{type(self).__name__} takes no sample_weight: a distribution has no value per row; give the metric "
                "to compile(metrics=...), not weighted_metrics"
            )
        value, exists = self.measure(self._terms.of(y_true, y_pred))
        return super().update_state(tf.where(exists, value, 0.0), sample_weight=tf.cast(exists, tf.float32))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **self._arguments}


def _of_group(values: tf.Tensor, exists: tf.Tensor, group: int) -> tuple[tf.Tensor, tf.Tensor]:
    """The entry of one group, which the batch may lack: `[groups, ...]` -> `[...]` and `[]` bool."""
    present = tf.shape(exists)[0] > group
    index = tf.where(present, group, 0)
    return tf.gather(values, index), present & tf.gather(exists, index)


def _expectation_margin(terms: DistributionTerms, group: int) -> tuple[tf.Tensor, tf.Tensor]:
    """E[S+] - E[S-] of a group, and whether it has both."""
    exists = terms.has_positives & terms.has_negatives
    return _of_group(terms.positive_means - terms.negative_means, exists, group)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class DDLTerm(_DistributionMetric):
    """One term of the Distribution Distillation Loss, before its weight.

    Args:
        term: "positive_kl", "negative_kl", "order", "overlap", or "loss" (the weighted sum).
        name: the term by default.
        **loss_arguments: the arguments of the `DDLLoss` that is watched.

    Example:
        >>> metric = DDLTerm("order")
        >>> embeddings = tf.constant([[1.0, 0.0], [1.0, 0.0], [0.0, 1.0]])
        >>> _ = metric.update_state(tf.constant([[0, 0], [0, 0], [1, 0]]), embeddings)
        >>> float(metric.result())
        -1.0
    """

    def __init__(self, term: str, name: Optional[str] = None, dtype: Any = None, **loss_arguments: Any) -> None:
        if term not in TERMS:
            raise ValueError(f"term must be one of {', '.join(TERMS)}, got {term!r}")
        super().__init__(name or term, dtype, loss_arguments, term=term)
        self.term = term

    def measure(self, terms: DistributionTerms) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the term, and whether the batch has the similarities that it is made of."""
        exists = {
            "positive_kl": terms.has_positives[0] & tf.reduce_any(terms.has_positives[1:]),
            "negative_kl": terms.has_negatives[0] & tf.reduce_any(terms.has_negatives[1:]),
            "order": tf.reduce_any(terms.has_positives) & tf.reduce_any(terms.has_negatives),
            "overlap": tf.reduce_any(terms.has_positives & terms.has_negatives),
        }
        exists["loss"] = exists["positive_kl"] | exists["negative_kl"] | exists["order"]
        return getattr(terms, self.term), exists[self.term]


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class ExpectationMargin(_DistributionMetric):
    """How far the positives of a group lie above its hardest negatives: E[S+] - E[S-], figure 1 of DDL's paper.

    Args:
        group: 0 = teacher, 1..K = students.
        name: "margin_GROUP" by default.
        **loss_arguments: the arguments of the `DDLLoss` that is watched.
    """

    def __init__(self, group: int, name: Optional[str] = None, dtype: Any = None, **loss_arguments: Any) -> None:
        if group < 0:
            raise ValueError(f"group must be 0 (teacher) or above, got {group!r}")
        super().__init__(name or f"margin_{group}", dtype, loss_arguments, group=group)
        self.group = group

    def measure(self, terms: DistributionTerms) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the margin, and whether the group has positives and negatives."""
        return _expectation_margin(terms, self.group)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MarginGap(_DistributionMetric):
    """The expectation margin of the teacher less that of a student: what the distillation closes.

    In figure 1 of the paper it is 0.21 for ArcFace and 0.07 for DDL on SCface.

    Args:
        student: which group, 1..K.
        name: "gap_STUDENT" by default.
        **loss_arguments: the arguments of the `DDLLoss` that is watched.
    """

    def __init__(self, student: int = 1, name: Optional[str] = None, dtype: Any = None, **loss_arguments: Any) -> None:
        super().__init__(name or f"gap_{student}", dtype, loss_arguments, student=student)
        self.student = student

    def measure(self, terms: DistributionTerms) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the gap, and whether both groups have positives and negatives."""
        teacher, teacher_exists = _expectation_margin(terms, 0)
        student, student_exists = _expectation_margin(terms, self.student)
        return teacher - student, teacher_exists & student_exists


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class DistributionOverlap(_DistributionMetric):
    """The common area of the teacher's and a student's similarity distributions, in [0, 1].

    Args:
        student: which group, 1..K.
        kind: "positive" or "negative": which of the distributions.
        name: "KIND_overlap_STUDENT" by default.
        **loss_arguments: the arguments of the `DDLLoss` that is watched.
    """

    def __init__(
        self,
        student: int = 1,
        kind: str = "positive",
        name: Optional[str] = None,
        dtype: Any = None,
        **loss_arguments: Any,
    ) -> None:
        if kind not in KINDS:
            raise ValueError(f"kind must be one of {', '.join(KINDS)}, got {kind!r}")
        super().__init__(name or f"{kind}_overlap_{student}", dtype, loss_arguments, student=student, kind=kind)
        self.student, self.kind = student, kind

    def measure(self, terms: DistributionTerms) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the overlap, and whether both groups have such similarities."""
        distributions = getattr(terms, f"{self.kind}_distributions")
        exists = getattr(terms, f"has_{self.kind}s")
        teacher, teacher_exists = _of_group(distributions, exists, 0)
        student, student_exists = _of_group(distributions, exists, self.student)
        return tf.reduce_sum(tf.minimum(teacher, student)), teacher_exists & student_exists


def ddl_metrics(num_students: int = 1, **loss_arguments: Any) -> list[tf.keras.metrics.Metric]:
    """Make the metrics that show what the loss does, for `compile(metrics={"embedding": ...})`.

    Args:
        num_students: how many student groups are watched.
        **loss_arguments: the arguments of the `DDLLoss` that is watched.

    Returns:
        The terms; each group's expectation margin; each student's gap and overlaps.

    Example:
        >>> [metric.name for metric in ddl_metrics()][:3]
        ['positive_kl', 'negative_kl', 'order']
    """
    metrics: list[tf.keras.metrics.Metric] = [DDLTerm(term, **loss_arguments) for term in TERMS if term != "loss"]
    metrics += [ExpectationMargin(group, **loss_arguments) for group in range(num_students + 1)]
    for student in range(1, num_students + 1):
        metrics.append(MarginGap(student, **loss_arguments))
        metrics += [DistributionOverlap(student, kind, **loss_arguments) for kind in KINDS]
    shared = _Terms(DDLLoss(**loss_arguments))
    for metric in metrics:
        metric._terms = shared
    return metrics
