"""The losses on the logits of a margin head in `keras.ops`, for Keras on JAX or PyTorch."""

from typing import Any

import tensorflow as tf
from keras import ops

from ddl_tf.losses import margin_softmax
from ddl_tf.losses.ops_rows import Tensor, class_numbers


def _row_weights(sample_weight: Any, losses: Tensor) -> Tensor:
    """Reshape a `sample_weight` `[batch]`, `[batch, 1]` or `[]` to `[batch]` float32, or raise ValueError."""
    weights = ops.convert_to_tensor(sample_weight, "float32")
    rows = losses.shape[0]
    if tuple(weights.shape) not in ((), (rows,), (rows, 1)):
        raise ValueError(f"sample_weight must be one weight for each row, got the shape {list(weights.shape)}")
    return ops.broadcast_to(weights, [rows]) if not weights.shape else ops.reshape(weights, [rows])


class LabelledRowsLoss(margin_softmax.LabelledRowsLoss):
    """Mean of a loss per row over rows that have a label: by default their cross-entropy, over all of them.

    This is `ddl_tf.losses.margin_softmax.LabelledRowsLoss` for Keras on JAX or PyTorch. On JAX the mean is over the
    rows of all devices, on PyTorch over those of the process. The loss of a row with a label out of range is NaN.

    Args:
        compact: whether the logits are those of a sampled or sharded head.
    """

    def row_losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Return the cross-entropy of each row, of labels from 0 and logits, `[batch]`."""
        shifted = logits - ops.stop_gradient(ops.max(logits, axis=1, keepdims=True))
        targets = ops.take_along_axis(shifted, labels[:, None], axis=1)[:, 0]
        return ops.log(ops.sum(ops.exp(shifted), axis=1)) - targets

    def call(self, y_true: Any, y_pred: Any) -> Tensor:
        """Return the loss of each row that counts, `[batch]` float32; 0 in the others."""
        losses, counted = self._rows(y_true, y_pred)
        return ops.where(counted, losses, 0.0)

    def __call__(self, y_true: Any, y_pred: Any, sample_weight: Any = None) -> Tensor:
        """Compute the loss of a batch: sum(weight * loss) / number of rows that count.

        Args:
            y_true: int `[batch]` or `[batch, 1]` labels, -1 for none.
            y_pred: `[batch, num_classes]` logits, or `[batch, 3]` compact ones.
            sample_weight: `[batch]`, `[batch, 1]` or `[]`; it does not change what the sum is divided by.

        Returns:
            `[]` float32; 0 if no row counts. With the reduction "none" `[batch]`, weight * loss of each row.

        Raises:
            ValueError: for labels that are no whole numbers, and for another shape of labels, logits or weights.
        """
        losses, counted = self._rows(y_true, y_pred)
        if sample_weight is not None:
            losses = losses * _row_weights(sample_weight, losses)
        losses = ops.where(counted, losses, 0.0)
        if self.reduction in (None, "none"):
            return losses
        return ops.divide_no_nan(ops.sum(losses), ops.sum(ops.cast(counted, "float32")))

    def _rows(self, y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
        """The loss of each row, and which rows count."""
        logits = ops.convert_to_tensor(y_pred, "float32")
        if len(logits.shape) != 2 or (self.compact and logits.shape[1] != 3):
            wanted = "[batch, 3], those of a sampled or sharded head" if self.compact else "[batch, num_classes]"
            raise ValueError(f"compact={self.compact} takes {wanted}, got logits of the shape {list(logits.shape)}")
        labels, out_of_range = class_numbers(y_true, logits, None if self.compact else logits.shape[1])
        # The softmax over two columns, of which one holds the mass of all others, has the cross-entropy of all.
        rows = (ops.zeros_like(labels), logits[:, :2]) if self.compact else (ops.maximum(labels, 0), logits)
        losses = self.row_losses(*rows) + out_of_range
        return losses, self.counted(losses, (labels >= 0) | ops.isnan(out_of_range))


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MarginSoftmaxLoss(LabelledRowsLoss, margin_softmax.MarginSoftmaxLoss):
    """Cross-entropy over the rows that have a label; the margin itself is in the head that makes the logits.

    This is `ddl_tf.losses.margin_softmax.MarginSoftmaxLoss` for Keras on JAX or PyTorch: the same arguments, numbers
    and saved configuration. Rows with the label -1 do not count.

    Example:
        >>> loss = MarginSoftmaxLoss()(np.array([1, -1]), np.array([[0.0, 9.0], [5.0, 5.0]]))
        >>> float(loss) < 0.01
        True
    """

    def row_losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Return the cross-entropy of each row with its smoothed label, `[batch]`."""
        losses = super().row_losses(labels, logits)
        if not self.label_smoothing:
            return losses
        to_all = ops.logsumexp(logits, axis=1) - ops.mean(logits, axis=1)
        return (1.0 - self.label_smoothing) * losses + self.label_smoothing * to_all


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class FocalLoss(LabelledRowsLoss, margin_softmax.FocalLoss):
    """Cross-entropy that counts a row the less, the more probable its label already is.

    This is `ddl_tf.losses.margin_softmax.FocalLoss` for Keras on JAX or PyTorch.
    """

    def row_losses(self, labels: Tensor, logits: Tensor) -> Tensor:
        """Return the focal loss of each row, `[batch]`."""
        losses = super().row_losses(labels, logits)
        # 1 - p, exact for small losses too. The bound keeps a power below 1 from an infinite slope at 0.
        improbable = ops.maximum(-ops.expm1(-losses), 1e-12)
        return ops.power(improbable, self.gamma) * losses


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class OHEMLoss(LabelledRowsLoss, margin_softmax.OHEMLoss):
    """Mean cross-entropy of the hardest share of the labelled rows: online hard example mining.

    This is `ddl_tf.losses.margin_softmax.OHEMLoss` for Keras on JAX or PyTorch.
    """

    def counted(self, losses: Tensor, labelled: Tensor) -> Tensor:
        """Return the hardest labelled rows of the batch, bool `[batch]`."""
        number = ops.sum(ops.cast(labelled, "float32"))
        kept = ops.maximum(ops.floor(self.keep_fraction * number + 0.5), 1.0)
        # Losses are not below 0: rows without a label come last.
        hardest_first = -ops.sort(ops.where(labelled, -ops.stop_gradient(losses), 1.0))
        threshold = ops.take(hardest_first, ops.cast(kept, "int32") - 1)
        # A loss that is not a number is not below the threshold, and so remains to be seen.
        return labelled & ~(losses < threshold)
