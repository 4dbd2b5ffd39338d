"""Margin softmax heads: the classification logits of a recognizer."""

import math
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.layers.float32 import Float32Layer

# float32 knows no cosine between this and 1; beyond it the slope of the arc cosine is infinite.
_LARGEST_COSINE = 1.0 - 1e-7


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MarginHead(Float32Layer):
    """Scaled cosines between embeddings and class centers; the target's is made harder to raise.

    This base has no margin (it is the normalised softmax); a margin is a subclass with one method, `apply_margin`.

    Args:
        num_classes: number of identities.
        scale: what the cosines are multiplied by.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if `num_classes` or `scale` is not above 0.

    Example:
        >>> class Half(MarginHead):
        ...     def apply_margin(self, cosine):
        ...         return 0.5 * cosine - 0.5
        >>> Half(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", https://arxiv.org/abs/1704.06369
    """

    def __init__(self, num_classes: int, scale: float = 64.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if int(num_classes) < 1:
            raise ValueError(f"num_classes must be at least 1, got {num_classes!r}")
        if not scale > 0:
            raise ValueError(f"scale must be above 0, got {scale!r}")
        self.num_classes = int(num_classes)
        self.scale = float(scale)

    def build(self, input_shape: Any) -> None:
        """Make the class centers.

        Args:
            input_shape: `[batch, dim]`, the shape of the embeddings.
        """
        self.class_centers = self.add_weight(
            name="class_centers",
            shape=(int(input_shape[-1]), self.num_classes),
            # As InsightFace: only the direction matters, and shorter centers learn faster.
            initializer=tf.keras.initializers.RandomNormal(stddev=0.01),
        )
        super().build(input_shape)

    def normalized_centers(self) -> tf.Tensor:
        """Give the class centers, for whoever looks for near ones.

        Returns:
            `[num_classes, dim]` float32 of unit norm.
        """
        return tf.transpose(tf.math.l2_normalize(self.class_centers, axis=0))

    def apply_margin(self, cosine: tf.Tensor) -> tf.Tensor:
        """Turn the cosines to the target's center into their margin version.

        Args:
            cosine: `[rows]`, in [-1, 1].

        Returns:
            `[rows]`, falling strictly with the angle.
        """
        return cosine

    def call(self, embeddings: tf.Tensor, labels: Optional[tf.Tensor] = None) -> tf.Tensor:
        """Compute the logits.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.
            labels: int `[batch]` or `[batch, 1]`; a row with -1 has no target, hence no margin. Without labels no
                row has one.

        Returns:
            `[batch, num_classes]` float32.
        """
        # Rounding can carry a product of unit vectors past 1.
        cosines = tf.clip_by_value(
            tf.matmul(tf.math.l2_normalize(embeddings, axis=1), tf.math.l2_normalize(self.class_centers, axis=0)),
            -1.0,
            1.0,
        )
        if labels is not None:
            labels = tf.reshape(tf.cast(labels, tf.int32), [-1])
            targets = tf.stack([tf.range(tf.shape(labels)[0]), tf.maximum(labels, 0)], axis=1)
            cosine = tf.gather_nd(cosines, targets)
            cosine = tf.where(labels >= 0, self.apply_margin(cosine), cosine)
            cosines = tf.tensor_scatter_nd_update(cosines, targets, cosine)
        return self.scale * cosines

    def compute_output_shape(self, input_shape: Any) -> tf.TensorShape:
        """Give the shape of the logits.

        Args:
            input_shape: `[batch, dim]`.

        Returns:
            `[batch, num_classes]`.
        """
        return tf.TensorShape([input_shape[0], self.num_classes])

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal head.
        """
        return {**super().get_config(), "num_classes": self.num_classes, "scale": self.scale}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CombinedMargin(MarginHead):
    """The target's cosine becomes cos(m1 * theta + m2) - m3.

    Past m1 * theta + m2 = pi that would rise again. From there on it is cos(theta) - c - m3, which falls over the
    whole range; c is m2 * sin(m2), the usual one of ArcFace, or more where that is not enough.

    Args:
        num_classes: number of identities.
        m1: multiplies the angle (SphereFace).
        m2: added to the angle, in radians (ArcFace).
        m3: taken off the cosine (CosFace).
        scale: what the cosines are multiplied by.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if `m1` is not above 0, `m2` is outside of [0, pi), or `m3` is negative.

    Example:
        >>> head = CombinedMargin(num_classes=10, m1=1.0, m2=0.3, m3=0.2)
        >>> head(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition", section 2.3,
        https://arxiv.org/abs/1801.07698
    """

    def __init__(
        self,
        num_classes: int,
        m1: float = 1.0,
        m2: float = 0.5,
        m3: float = 0.0,
        scale: float = 64.0,
        **kwargs: Any,
    ) -> None:
        super().__init__(num_classes, scale, **kwargs)
        if not m1 > 0:
            raise ValueError(f"m1 must be above 0, got {m1!r}")
        if not 0 <= m2 < math.pi:
            raise ValueError(f"m2 must be an angle in [0, pi), got {m2!r}")
        if not m3 >= 0:
            raise ValueError(f"m3 must not be negative, got {m3!r}")
        self.m1, self.m2, self.m3 = float(m1), float(m2), float(m3)

    def apply_margin(self, cosine: tf.Tensor) -> tf.Tensor:
        """Apply the three margins.

        Args:
            cosine: `[rows]`, in [-1, 1].

        Returns:
            `[rows]`.
        """
        theta = tf.acos(tf.clip_by_value(cosine, -_LARGEST_COSINE, _LARGEST_COSINE))
        last_theta = (math.pi - self.m2) / self.m1
        drop = max(self.m2 * math.sin(self.m2), 1.0 + math.cos(last_theta))
        return tf.where(theta <= last_theta, tf.cos(self.m1 * theta + self.m2), cosine - drop) - self.m3

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal head.
        """
        return {**super().get_config(), "m1": self.m1, "m2": self.m2, "m3": self.m3}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class ArcFace(CombinedMargin):
    """The target's cosine becomes cos(theta + margin).

    Args:
        num_classes: number of identities.
        margin: in radians, in [0, pi).
        scale: what the cosines are multiplied by.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> ArcFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Deng et al., "ArcFace: Additive Angular Margin Loss for Deep Face Recognition",
        https://arxiv.org/abs/1801.07698
    """

    def __init__(self, num_classes: int, margin: float = 0.5, scale: float = 64.0, **kwargs: Any) -> None:
        super().__init__(num_classes, m2=margin, scale=scale, **kwargs)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal head.
        """
        return {**MarginHead.get_config(self), "margin": self.m2}


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CosFace(MarginHead):
    """The target's cosine becomes cos(theta) - margin.

    Args:
        num_classes: number of identities.
        margin: not negative.
        scale: what the cosines are multiplied by.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> CosFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", https://arxiv.org/abs/1801.09414
    """

    def __init__(self, num_classes: int, margin: float = 0.35, scale: float = 64.0, **kwargs: Any) -> None:
        super().__init__(num_classes, scale, **kwargs)
        if not margin >= 0:
            raise ValueError(f"margin must not be negative, got {margin!r}")
        self.margin = float(margin)

    def apply_margin(self, cosine: tf.Tensor) -> tf.Tensor:
        """Take the margin off the cosine.

        Args:
            cosine: `[rows]`, in [-1, 1].

        Returns:
            `[rows]`.
        """
        return cosine - self.margin

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal head.
        """
        return {**super().get_config(), "margin": self.margin}
