"""MagFace: a margin that grows with the norm of the embedding, which so becomes a measure of quality."""

import math
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.keras_version import IS_KERAS_3
from ddl_tf.common.replicas import mean_of_rows, replica_number
from ddl_tf.layers.arcface import angular_margin
from ddl_tf.layers.margin import MarginHead, Targets, check_argument


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MagFace(MarginHead):
    """The target's cosine becomes cos(theta + m(a)); a, the norm of the embedding, is clipped to [l_a, u_a].

    m(a) rises linearly from `l_margin` to `u_margin`. The regulariser g(a) = 1 / a + a / u_a^2 rewards long embeddings:
    lambda_g times its mean over the labelled rows of the global batch is added to the loss of the model (`add_loss`),
    and the metric `magnitude_loss` shows it. Outside of [l_a, u_a] the norm has no gradient.

    Args:
        num_classes: number of identities.
        scale: factor of the cosines.
        l_a: lower bound of the norm, above 0.
        u_a: upper bound of the norm, above `l_a`.
        l_margin: margin at `l_a`, in radians, not negative.
        u_margin: margin at `u_a`, in radians, from `l_margin` to below pi.
        lambda_g: weight of the regulariser, not negative. The paper's theory asks for at least
            scale * (u_margin - l_margin) / (u_a - l_a) * u_a^2 * l_a^2 / (u_a^2 - l_a^2), 22.6 at the defaults.

    Example:
        >>> MagFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Meng et al., "MagFace: A Universal Representation for Face Recognition ...", https://arxiv.org/abs/2103.06627
    """

    _arguments = ("num_classes", "scale", "l_a", "u_a", "l_margin", "u_margin", "lambda_g")

    def __init__(
        self,
        num_classes: int,
        scale: float = 64.0,
        l_a: float = 10.0,
        u_a: float = 110.0,
        l_margin: float = 0.45,
        u_margin: float = 0.8,
        lambda_g: float = 35.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, scale, **kwargs)
        check_argument(
            0 < l_a < u_a < math.inf, f"the norms must be 0 < l_a < u_a, both finite, got l_a {l_a!r}, u_a {u_a!r}"
        )
        margins = f"got l_margin {l_margin!r}, u_margin {u_margin!r}"
        check_argument(
            0 <= l_margin <= u_margin < math.pi, f"the margins must be 0 <= l_margin <= u_margin < pi, {margins}"
        )
        check_argument(0 <= lambda_g < math.inf, f"lambda_g must not be negative, and finite, got {lambda_g!r}")
        self.l_a, self.u_a, self.lambda_g = float(l_a), float(u_a), float(lambda_g)
        self.l_margin, self.u_margin = float(l_margin), float(u_margin)
        self.magnitude_loss = tf.keras.metrics.Mean(name="magnitude_loss")
        if IS_KERAS_3:
            self._replica_of: dict[int, int] = {}

    def with_margin(
        self, cosines: tf.Tensor, targets: Targets, embeddings: tf.Tensor, training: Optional[bool]
    ) -> tf.Tensor:
        """Return the cosines with the margin, and add the regulariser to the loss."""
        # Clipped before the root, whose slope at 0 is infinite.
        squares = tf.reduce_sum(embeddings**2, axis=1)
        norms = tf.sqrt(tf.clip_by_value(squares, self.l_a**2, self.u_a**2))
        magnitude_loss = self.lambda_g * mean_of_rows(1.0 / norms + norms / self.u_a**2, targets.labelled)
        self.add_loss(magnitude_loss)
        if IS_KERAS_3:
            self._replica_of[id(magnitude_loss)] = replica_number()
        # A metric has no state to change while a model is built in the scope of a strategy.
        if not tf.distribute.in_cross_replica_context():
            self.magnitude_loss.update_state(magnitude_loss)
        margins = self.l_margin + (self.u_margin - self.l_margin) / (self.u_a - self.l_a) * (norms - self.l_a)
        return targets.put(cosines, angular_margin(targets.take(cosines), margins))

    if IS_KERAS_3:

        def _get_own_losses(self) -> list[tf.Tensor]:
            # Keras 3 has one list for all replicas, and gives each of them the losses of those that came before it.
            losses, number = super()._get_own_losses(), replica_number()
            return [loss for loss in losses if self._replica_of.get(id(loss), number) == number]
