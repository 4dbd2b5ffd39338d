"""Losses on the logits of a margin head: softmax cross-entropy, and those that look at the hard rows more."""

import math
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.class_labels import class_numbers
from ddl_tf.common.keras_version import IS_KERAS_3, refuse_call_by_other, share_of_replica
from ddl_tf.common.replicas import gather_rows, mean_of_rows


def check_logits(logits: tf.Tensor, compact: bool) -> Optional[int]:
    """Check the shape of logits (ValueError); return the number of classes, None for compact ones."""
    if not logits.shape.is_compatible_with([None, 3 if compact else None]):
        wanted = "[batch, 3], those of a sampled or sharded head" if compact else "[batch, num_classes]"
        raise ValueError(f"compact={compact} takes {wanted}, got logits of the shape {logits.shape}")
    return None if compact or logits.shape.rank is None else logits.shape[1]


def row_weights(sample_weight: tf.Tensor, losses: tf.Tensor) -> tf.Tensor:
    """Reshape a `sample_weight` `[batch]`, `[batch, 1]` or `[]` to `[batch]` float32, or raise ValueError."""
    weights = tf.cast(sample_weight, tf.float32)
    if weights.shape.rank == 0:
        return tf.fill(tf.shape(losses), weights)
    column = tf.TensorShape([losses.shape[0], 1])
    if not (weights.shape.is_compatible_with(losses.shape) or weights.shape.is_compatible_with(column)):
        raise ValueError(f"sample_weight must be one weight for each row, got the shape {weights.shape}")
    # A reshape of itself fails for another number of rows.
    return tf.reshape(weights, tf.shape(losses))


class LabelledRowsLoss(tf.keras.losses.Loss):
    """Mean of a loss per row over rows that have a label: by default their cross-entropy, over all of them.

    A subclass defines the loss of a row (`row_losses`), or which rows count (`counted`). The mean is over the
    global batch, so that replicas with different numbers of counted rows add up to what one device would compute.
    Weights are Keras': the sum of weight times loss is divided by the number of rows that count, not by the weights.
    Labels that are not class numbers, one for each row, are refused (ValueError, in a graph InvalidArgumentError);
    where the graph drops the check (XLA) the row's loss is not a number.

    Args:
        compact: whether the logits are those of a sampled or sharded head, as `ddl_tf.layers.compact_logits` gives.

    Raises:
        ValueError: if an argument, of this class or a subclass, is out of its range.
    """

    # The constructor's arguments, which stand in attributes of these names: the configuration.
    _arguments: tuple[str, ...] = ("compact",)

    def __init__(self, compact: bool = False, name: Optional[str] = None, **kwargs: Any) -> None:
        super().__init__(name=name, **kwargs)
        self.compact = compact

    def row_losses(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the loss of each row, of labels from 0 and logits; what a row without a label gets is ignored."""
        return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)

    def counted(self, losses: tf.Tensor, labelled: tf.Tensor) -> tf.Tensor:
        """Return which rows the mean is over, `[batch]` bool; False where `labelled` is."""
        del losses
        return labelled

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss of each row that counts, `[batch]` float32; 0 in the others."""
        losses, counted = self._rows(y_true, y_pred)
        return tf.where(counted, losses, 0.0)

    def __call__(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Optional[tf.Tensor] = None) -> tf.Tensor:
        """Compute the loss of a batch: sum(weight * loss) / number of rows that count.

        Args:
            y_true: int `[batch]` or `[batch, 1]` labels, -1 for none.
            y_pred: `[batch, num_classes]` logits, or `[batch, 3]` compact ones.
            sample_weight: `[batch]`, `[batch, 1]` or `[]`. As in Keras it does not change what the sum is divided by; a
                row that does not count stays out whatever its weight.

        Returns:
            `[]` float32; 0 if no row counts. With the reduction "none" `[batch]`, weight * loss of each row.
        """
        refuse_call_by_other(type(self).__name__)
        with tf.name_scope(self.name if IS_KERAS_3 else self._name_scope):
            losses, counted = self._rows(y_true, y_pred)
            if sample_weight is not None:
                losses = losses * row_weights(sample_weight, losses)
            if self.reduction in (None, "none"):
                return tf.where(counted, losses, 0.0)
            # Also for "sum", which own training loops under a strategy give, where Keras refuses its default.
            return share_of_replica(mean_of_rows(losses, counted), self.reduction)

    def _rows(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The loss of each row, and which rows count."""
        logits = tf.cast(y_pred, tf.float32)
        labels, out_of_range = class_numbers(y_true, logits, check_logits(logits, self.compact))
        # The softmax over two columns, of which one holds the mass of all others, has the cross-entropy of all.
        rows = (tf.zeros_like(labels), logits[:, :2]) if self.compact else (tf.maximum(labels, 0), logits)
        losses = self.row_losses(*rows) + out_of_range
        return losses, self.counted(losses, (labels >= 0) | tf.math.is_nan(out_of_range))

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in self._arguments}}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MarginSoftmaxLoss(LabelledRowsLoss):
    """Cross-entropy over the rows that have a label; the margin itself is in the head that makes the logits.

    Rows with the label -1 (pairs that are drawn only for the distillation) do not count; the mean is over the labelled
    rows of the global batch.

    Args:
        label_smoothing: the share of the target that is spread evenly over all classes: in [0, 1), 0 if compact.
        compact: whether the logits are those of a sampled or sharded head.

    Example:
        >>> loss = MarginSoftmaxLoss()(tf.constant([1, -1]), tf.constant([[0.0, 9.0], [5.0, 5.0]]))
        >>> float(loss) < 0.01
        True
    """

    _arguments = ("label_smoothing", "compact")

    def __init__(
        self, label_smoothing: float = 0.0, compact: bool = False, name: str = "margin_softmax", **kwargs: Any
    ) -> None:
        super().__init__(compact, name, **kwargs)
        if not 0.0 <= label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), got {label_smoothing!r}")
        if compact and label_smoothing:
            reason = "a sampled or sharded head, which has no logits of all classes"
            raise ValueError(f"label_smoothing must be 0 with {reason}, got {label_smoothing!r}")
        self.label_smoothing = label_smoothing

    def row_losses(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the cross-entropy of each row with its smoothed label, `[batch]`."""
        losses = super().row_losses(labels, logits)
        if not self.label_smoothing:
            return losses
        to_all = tf.reduce_logsumexp(logits, axis=1) - tf.reduce_mean(logits, axis=1)
        return (1.0 - self.label_smoothing) * losses + self.label_smoothing * to_all


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class FocalLoss(LabelledRowsLoss):
    """Cross-entropy that counts a row the less, the more probable its label already is.

    The loss of a row is (1 - p)^gamma times its cross-entropy, p the softmax probability of its label under the
    head's margin; the mean is over the labelled rows of the global batch.

    Args:
        gamma: how much easy rows are played down, at least 0; 0 gives the cross-entropy.
        compact: whether the logits are those of a sampled or sharded head.

    Example:
        >>> loss = FocalLoss()(tf.constant([1, -1]), tf.constant([[0.0, 0.0], [5.0, 5.0]]))
        >>> round(float(loss), 4)
        0.1733

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, https://arxiv.org/abs/1708.02002
    """

    _arguments = ("gamma", "compact")

    def __init__(self, gamma: float = 2.0, compact: bool = False, name: str = "focal", **kwargs: Any) -> None:
        super().__init__(compact, name, **kwargs)
        if not 0 <= gamma < math.inf:
            raise ValueError(f"gamma must be at least 0 and finite, got {gamma!r}")
        self.gamma = gamma

    def row_losses(self, labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
        """Return the focal loss of each row, `[batch]`."""
        losses = super().row_losses(labels, logits)
        # 1 - p, exact for small losses too. The bound keeps a power below 1 from an infinite slope at 0.
        improbable = tf.maximum(-tf.math.expm1(-losses), 1e-12)
        return tf.pow(improbable, self.gamma) * losses


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class OHEMLoss(LabelledRowsLoss):
    """Mean cross-entropy of the hardest share of the labelled rows: online hard example mining.

    Every batch chooses its rows by their cross-entropy, among all labelled rows of the global batch: the replicas pool
    their losses, and every row at or above the loss of the last row kept counts (with equal losses there may be more
    than the share). A `sample_weight` weights the chosen rows, and has no part in the choice.

    Args:
        keep_fraction: the share of the labelled rows that counts, in (0, 1]; rounded, halves up, at least one row.
        compact: whether the logits are those of a sampled or sharded head.

    Example:
        >>> logits = tf.constant([[0.0, 9.0], [0.0, 0.0]])
        >>> round(float(OHEMLoss(keep_fraction=0.5)(tf.constant([1, 1]), logits)), 4)
        0.6931

    References:
        Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016,
        https://arxiv.org/abs/1604.03540
    """

    _arguments = ("keep_fraction", "compact")

    def __init__(self, keep_fraction: float = 0.5, compact: bool = False, name: str = "ohem", **kwargs: Any) -> None:
        super().__init__(compact, name, **kwargs)
        if not 0.0 < keep_fraction <= 1.0:
            raise ValueError(f"keep_fraction must be above 0 and at most 1, got {keep_fraction!r}")
        self.keep_fraction = keep_fraction

    def counted(self, losses: tf.Tensor, labelled: tf.Tensor) -> tf.Tensor:
        """Return the hardest labelled rows of the global batch, bool `[batch]`."""
        (pooled,) = gather_rows(tf.stop_gradient(tf.boolean_mask(losses, labelled)))
        # Halves go up; tf.round takes them to the even number.
        kept = tf.maximum(tf.floor(self.keep_fraction * tf.cast(tf.size(pooled), tf.float32) + 0.5), 1.0)
        # The last entry is there where no row has a label.
        hardest_first = tf.sort(tf.concat([pooled, [pooled.dtype.min]], 0), direction="DESCENDING")
        threshold = hardest_first[tf.cast(kept, tf.int32) - 1]
        # A loss that is not a number is not below the threshold, and so remains to be seen.
        return labelled & ~(losses < threshold)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class LabelledAccuracy(tf.keras.metrics.SparseCategoricalAccuracy):
    """The share of labelled rows whose largest logit is the target's; rows with the label -1 do not count.

    The logits of a margin head have the margin taken off the target, so this is the accuracy under the margin.

    Args:
        compact: whether the logits are those of a sampled or sharded head, `ddl_tf.layers.compact_logits`.

    Example:
        >>> metric = LabelledAccuracy()
        >>> _ = metric.update_state(tf.constant([1, -1]), tf.constant([[0.0, 9.0], [5.0, 1.0]]))
        >>> float(metric.result())
        1.0
    """

    def __init__(self, name: str = "accuracy", dtype: Any = None, compact: bool = False) -> None:
        super().__init__(name=name, dtype=dtype)
        self.compact = compact

    def update_state(self, y_true: tf.Tensor, y_pred: tf.Tensor, sample_weight: Any = None) -> Any:
        """Add a batch; the arguments, and what is refused, are those of `MarginSoftmaxLoss`."""
        y_pred = tf.convert_to_tensor(y_pred)
        labels, out_of_range = class_numbers(y_true, y_pred, check_logits(y_pred, self.compact))
        # XLA drops the check of the range: the accuracy is then not a number.
        weights = tf.cast(labels >= 0, tf.float32) + out_of_range
        if sample_weight is not None:
            weights *= row_weights(sample_weight, weights)
        if self.compact:
            # The target's and the largest other.
            labels, y_pred = tf.zeros_like(labels), tf.gather(y_pred, [0, 2], axis=1)
        return super().update_state(labels, y_pred, sample_weight=weights)

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "compact": self.compact}
