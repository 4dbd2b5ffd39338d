"""Softmax losses that look at the hard rows more: focal loss, and online hard example mining."""

import math
from typing import Any

import tensorflow as tf

from ddl_tf.common.replicas import gather_rows
from ddl_tf.losses.margin_softmax import LabelledRowsLoss


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class FocalLoss(LabelledRowsLoss):
    """Cross-entropy that counts a row the less, the more probable its label already is.

    The loss of a row is (1 - p)^gamma times its cross-entropy, p the softmax probability of its label under the
    head's margin; the mean is over the labelled rows of the global batch.

    Args:
        gamma: how much easy rows are played down, at least 0; 0 gives the cross-entropy.
        compact: whether the logits are those of a sampled or sharded head.

    Raises:
        ValueError: for a gamma that is negative or not finite.

    Example:
        >>> loss = FocalLoss()(tf.constant([1, -1]), tf.constant([[0.0, 0.0], [5.0, 5.0]]))
        >>> round(float(loss), 4)
        0.1733

    References:
        Lin et al., "Focal Loss for Dense Object Detection", ICCV 2017, https://arxiv.org/abs/1708.02002
    """

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

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "gamma": self.gamma}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class OHEMLoss(LabelledRowsLoss):
    """Mean cross-entropy of the hardest share of the labelled rows: online hard example mining.

    Every batch chooses its rows by their cross-entropy, among all labelled rows of the global batch: the replicas pool
    their losses, and every row at or above the loss of the last row kept counts (with equal losses there may be more
    than the share). A `sample_weight` weights the chosen rows, and has no part in the choice.

    Args:
        keep_fraction: the share of the labelled rows that counts, in (0, 1]; the number is rounded, halves up, and at
            least 1.
        compact: whether the logits are those of a sampled or sharded head.

    Raises:
        ValueError: for a `keep_fraction` outside of (0, 1].

    Example:
        >>> logits = tf.constant([[0.0, 9.0], [0.0, 0.0]])
        >>> round(float(OHEMLoss(keep_fraction=0.5)(tf.constant([1, 1]), logits)), 4)
        0.6931

    References:
        Shrivastava et al., "Training Region-based Object Detectors with Online Hard Example Mining", CVPR 2016,
        https://arxiv.org/abs/1604.03540
    """

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

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), "keep_fraction": self.keep_fraction}
