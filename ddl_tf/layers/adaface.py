"""AdaFace: a margin that follows the quality of the image, for which the norm of the embedding stands."""

import math
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.layers.arcface import angular_margin
from ddl_tf.layers.margin import MarginHead, Targets, check_argument

# As in the authors' code.
NORM_RANGE = (0.001, 100.0)
EPSILON = 1e-3


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class AdaFace(MarginHead):
    """The target's cosine becomes cos(theta - margin * z) - margin - margin * z, with z in [-1, 1] the quality.

    z = h * (norm - mean) / std, clipped, with the running mean and standard deviation of the embeddings' norms; it has
    no gradient. Low quality gives an angular margin (the easy rows count), high quality a negative one and an additive
    one (the hard rows count). A batch counts in the statistics before its own logits are made; one of fewer than two
    labelled rows leaves them.

    Args:
        num_classes: number of identities.
        margin: in [0, pi).
        scale: factor of the cosines.
        h: how much z varies, not negative; 0.333 puts 68 of 100 rows of a normal distribution between -0.333 and 0.333.
        t_alpha: share of the batch in the running statistics, in (0, 1]. 0.01 is that of the authors' training script
            and README; their class alone has 1, the statistics of the batch.

    Example:
        >>> AdaFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", https://arxiv.org/abs/2204.00964
    """

    _arguments = ("num_classes", "margin", "scale", "h", "t_alpha")

    def __init__(
        self,
        num_classes: int,
        margin: float = 0.4,
        scale: float = 64.0,
        h: float = 0.333,
        t_alpha: float = 0.01,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, scale, **kwargs)
        check_argument(0 <= margin < math.pi, f"margin must be in [0, pi), got {margin!r}")
        check_argument(0 <= h < math.inf, f"h must not be negative, and finite, got {h!r}")
        check_argument(0 < t_alpha <= 1, f"t_alpha must be in (0, 1], got {t_alpha!r}")
        self.margin, self.h, self.t_alpha = float(margin), float(h), float(t_alpha)

    def build_statistics(self) -> None:
        """Make the statistics of the norms."""
        # The authors' starting values; the wide deviation keeps z near 0 until the statistics have settled.
        self.norm_mean = self.add_statistic("norm_mean", 20.0)
        self.norm_std = self.add_statistic("norm_std", 100.0)

    def with_margin(
        self, cosines: tf.Tensor, targets: Targets, embeddings: tf.Tensor, training: Optional[bool]
    ) -> tf.Tensor:
        """Return the cosines `[batch, num_classes]` with the margin, in rows that have a target."""
        norms = tf.clip_by_value(tf.norm(tf.stop_gradient(embeddings), axis=1), *NORM_RANGE)
        mean, std = self._statistics(norms, targets, training)
        quality = tf.clip_by_value(self.h * (norms - mean) / (std + EPSILON), -1.0, 1.0)
        shift = self.margin * quality
        return targets.put(cosines, angular_margin(targets.take(cosines), -shift) - self.margin - shift)

    def _statistics(self, norms: tf.Tensor, targets: Targets, training: Optional[bool]) -> tuple[tf.Tensor, tf.Tensor]:
        mean, std = tf.convert_to_tensor(self.norm_mean), tf.convert_to_tensor(self.norm_std)
        if not training:
            return mean, std
        count = targets.count()
        batch_mean = tf.math.divide_no_nan(targets.total(norms), count)
        # Divided by one less, as PyTorch does.
        batch_std = tf.sqrt(targets.total((norms - batch_mean) ** 2) / tf.maximum(count - 1.0, 1.0))
        share = tf.where(count > 1, self.t_alpha, 0.0)
        mean = share * batch_mean + (1.0 - share) * mean
        std = share * batch_std + (1.0 - share) * std
        self.norm_mean.assign(mean)
        self.norm_std.assign(std)
        return mean, std
