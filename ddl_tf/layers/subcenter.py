"""Sub-center ArcFace: several centers a class, so that wrong labels need not pull at the right one."""

from typing import Any

import tensorflow as tf

from ddl_tf.layers.combined import ArcFace
from ddl_tf.layers.margin import cosines_between


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class SubCenterArcFace(ArcFace):
    """ArcFace in which a class has K centers, and its cosine is the largest to one of them.

    Args:
        num_classes: number of identities.
        margin: in radians, in [0, pi).
        scale: what the cosines are multiplied by.
        sub_centers: K, at least 1.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if an argument is out of its range.

    Example:
        >>> SubCenterArcFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces", ECCV 2020
    """

    def __init__(
        self, num_classes: int, margin: float = 0.5, scale: float = 64.0, sub_centers: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, margin, scale, **kwargs)
        if int(sub_centers) < 1:
            raise ValueError(f"sub_centers must be at least 1, got {sub_centers!r}")
        self.sub_centers = int(sub_centers)

    def _centers_shape(self, dim: int) -> tuple[int, ...]:
        return (dim, self.num_classes, self.sub_centers)

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Compute the cosine of every embedding to the nearest center of every class.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.

        Returns:
            `[batch, num_classes]`, in [-1, 1].
        """
        flat = tf.reshape(self.class_centers, [-1, self.num_classes * self.sub_centers])
        cosines = cosines_between(embeddings, flat)
        return tf.reduce_max(tf.reshape(cosines, [-1, self.num_classes, self.sub_centers]), axis=2)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal head.
        """
        return {**super().get_config(), "sub_centers": self.sub_centers}
