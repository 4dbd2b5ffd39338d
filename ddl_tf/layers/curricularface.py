"""CurricularFace: hard classes count little at first, and more as the network learns."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.layers.arcface import ArcFace
from ddl_tf.layers.margin import Targets, check_argument


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CurricularFace(ArcFace):
    """ArcFace whose hard classes are weighted: cos(theta_j) of those becomes cos(theta_j) * (t + cos(theta_j)).

    A class is hard for a row if its cosine lies above the target's with margin. `t`, the running mean of the targets'
    cosines, starts at 0 and rises in training, so that what is easy is learnt first. A batch counts in `t` before its
    own logits are made; a batch without labels leaves it.

    Args:
        num_classes: number of identities.
        margin: in radians, in [0, pi).
        scale: factor of the cosines.
        momentum: share of the old `t` in the new one, in [0, 1).

    Example:
        >>> CurricularFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss ...", https://arxiv.org/abs/2004.00288
    """

    _arguments = ("num_classes", "margin", "scale", "momentum")

    def __init__(
        self, num_classes: int, margin: float = 0.5, scale: float = 64.0, momentum: float = 0.99, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, margin, scale, **kwargs)
        check_argument(0 <= momentum < 1, f"momentum must be in [0, 1), got {momentum!r}")
        self.momentum = float(momentum)

    def build_statistics(self) -> None:
        """Make `t`."""
        self.t = self.add_statistic("t", 0.0)

    def with_margin(
        self, cosines: tf.Tensor, targets: Targets, embeddings: tf.Tensor, training: Optional[bool]
    ) -> tf.Tensor:
        """Return the cosines `[batch, num_classes]` with the margin, in rows that have a target."""
        cosine = targets.take(cosines)
        t = tf.convert_to_tensor(self.t)
        if training:
            count = targets.count()
            mean = tf.math.divide_no_nan(targets.total(cosine), count)
            t = tf.where(count > 0, self.momentum * t + (1.0 - self.momentum) * mean, t)
            self.t.assign(t)
        margined = self.apply_margin(cosine)
        hard = targets.labelled[:, tf.newaxis] & (cosines > margined[:, tf.newaxis])
        return targets.put(tf.where(hard, cosines * (t + cosines), cosines), margined)
