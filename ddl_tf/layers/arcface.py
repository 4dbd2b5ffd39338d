"""Margins that are the same for every row: ArcFace, CosFace and their combination."""

import math
from typing import Any, Union

import tensorflow as tf

from ddl_tf.layers.margin import MarginHead, check_argument

# float32 knows no cosine between this and 1; beyond it the slope of the arc cosine is infinite.
LARGEST_COSINE = 1.0 - 1e-7
# How far cosines lie apart at most. With a margin of as much no row could be right.
_COSINES = 2.0


def angular_margin(cosine: tf.Tensor, margin: Union[float, tf.Tensor], factor: float = 1.0) -> tf.Tensor:
    """Turn cos(theta) `[rows]` into cos(factor * theta + margin), made to fall with theta as in `CombinedMargin`.

    `margin` is an angle in (-pi, pi), one for all rows or `[rows]`. Below 0 (with a negative margin) the cosine would
    fall towards theta = 0; there it is 1.
    """
    theta = tf.acos(tf.clip_by_value(cosine, -LARGEST_COSINE, LARGEST_COSINE))
    last_theta = (math.pi - margin) / factor
    drop = tf.maximum(margin * tf.sin(margin), 1.0 + tf.cos(last_theta))
    return tf.where(theta <= last_theta, tf.cos(tf.maximum(factor * theta + margin, 0.0)), cosine - drop)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CombinedMargin(MarginHead):
    """The target's cosine becomes cos(m1 * theta + m2) - m3: section 2.3 of the paper of `ArcFace`.

    Past m1 * theta + m2 = pi that would rise again. From there on it is cos(theta) - c - m3, which falls over the
    whole range; c is m2 * sin(m2), the usual one of ArcFace, or more where that is not enough.

    Args:
        num_classes: number of identities.
        m1: factor of the angle, above 0 (SphereFace).
        m2: added to the angle, in radians, in [0, pi) (ArcFace).
        m3: taken off the cosine, in [0, 2) (CosFace).
        scale: factor of the cosines.

    Example:
        >>> head = CombinedMargin(num_classes=10, m1=1.0, m2=0.3, m3=0.2)
        >>> head(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])
    """

    _arguments: tuple[str, ...] = ("num_classes", "m1", "m2", "m3", "scale")

    def __init__(
        self, num_classes: int, m1: float = 1.0, m2: float = 0.5, m3: float = 0.0, scale: float = 64.0, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, scale, **kwargs)
        check_argument(0 < m1 < math.inf, f"m1 must be above 0 and finite, got {m1!r}")
        check_argument(0 <= m2 < math.pi, f"m2 must be an angle in [0, pi), got {m2!r}")
        check_argument(0 <= m3 < _COSINES, f"m3 must be in [0, 2), got {m3!r}")
        self.m1, self.m2, self.m3 = float(m1), float(m2), float(m3)

    def apply_margin(self, cosine: tf.Tensor) -> tf.Tensor:
        """Return `[rows]` cosines with the three margins."""
        return angular_margin(cosine, self.m2, self.m1) - self.m3


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class ArcFace(CombinedMargin):
    """The target's cosine becomes cos(theta + margin).

    Args:
        num_classes: number of identities.
        margin: in radians, in [0, pi).
        scale: factor of the cosines.

    Example:
        >>> ArcFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Deng et al., "ArcFace: Additive Angular Margin Loss ...", https://arxiv.org/abs/1801.07698
    """

    _arguments: tuple[str, ...] = ("num_classes", "margin", "scale")

    def __init__(self, num_classes: int, margin: float = 0.5, scale: float = 64.0, **kwargs: Any) -> None:
        check_argument(0 <= margin < math.pi, f"margin must be an angle in [0, pi), got {margin!r}")
        super().__init__(num_classes, m2=margin, scale=scale, **kwargs)
        self.margin = self.m2


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CosFace(MarginHead):
    """The target's cosine becomes cos(theta) - margin.

    Args:
        num_classes: number of identities.
        margin: in [0, 2).
        scale: factor of the cosines.

    Example:
        >>> CosFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", https://arxiv.org/abs/1801.09414
    """

    _arguments = ("num_classes", "margin", "scale")

    def __init__(self, num_classes: int, margin: float = 0.35, scale: float = 64.0, **kwargs: Any) -> None:
        super().__init__(num_classes, scale, **kwargs)
        check_argument(0 <= margin < _COSINES, f"margin must be in [0, 2), got {margin!r}")
        self.margin = float(margin)

    def apply_margin(self, cosine: tf.Tensor) -> tf.Tensor:
        """Return `[rows]` cosines less the margin."""
        return cosine - self.margin
