"""Sub-center ArcFace: several centers a class, so that wrong labels need not pull at the right one."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.common.replicas import global_sum
from ddl_tf.layers.arcface import ArcFace
from ddl_tf.layers.margin import Targets, check_argument, cosines_between

# What a row counts in `chosen`, once the next row of its class has come.
MEMORY = 0.99


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class SubCenterArcFace(ArcFace):
    """ArcFace in which a class has K centers, and its cosine is that to the nearest one.

    Most right rows of a class gather at one center, the dominant one; it stands for the class outside of the head. The
    running counts `chosen`, how many recent rows of the class were nearest to each center, show which one it is.

    Args:
        num_classes: number of identities.
        margin: in radians, in [0, pi).
        scale: factor of the cosines.
        sub_centers: K, at least 1.

    Example:
        >>> SubCenterArcFace(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces", ECCV 2020
    """

    _arguments = ("num_classes", "margin", "scale", "sub_centers")

    def __init__(
        self, num_classes: int, margin: float = 0.5, scale: float = 64.0, sub_centers: int = 3, **kwargs: Any
    ) -> None:
        super().__init__(num_classes, margin, scale, **kwargs)
        check_argument(
            is_whole(sub_centers) and sub_centers >= 1,
            f"sub_centers must be a whole number, at least 1, got {sub_centers!r}",
        )
        self.sub_centers = int(sub_centers)

    def build_statistics(self) -> None:
        """Make the counts."""
        self.chosen = self.add_statistic("chosen", 0.0, (self.num_classes, self.sub_centers))

    def _centers_shape(self, dim: int) -> tuple[int, ...]:
        return (dim, self.num_classes, self.sub_centers)

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Return the cosines to the nearest center of every class, `[batch, num_classes]`."""
        flat = tf.reshape(self.class_centers, [-1, self.num_classes * self.sub_centers])
        cosines = cosines_between(embeddings, flat)
        return tf.reduce_max(tf.reshape(cosines, [-1, self.num_classes, self.sub_centers]), axis=2)

    def with_margin(
        self, cosines: tf.Tensor, targets: Targets, embeddings: tf.Tensor, training: Optional[bool]
    ) -> tf.Tensor:
        """Return the cosines `[batch, num_classes]` with the margin, in rows that have a target."""
        if training:
            centers = tf.math.l2_normalize(tf.gather(self.class_centers, targets.classes, axis=1), axis=0)
            nearest = tf.argmax(tf.einsum("bd,dbk->bk", embeddings, centers), axis=1, output_type=tf.int32)
            places = tf.stack([targets.classes, nearest], axis=1)
            ones = tf.cast(targets.labelled, tf.float32)
            counts = global_sum(tf.scatter_nd(places, ones, [self.num_classes, self.sub_centers]))
            rows = tf.reduce_sum(counts, axis=1, keepdims=True)
            self.chosen.assign(self.chosen * MEMORY**rows + counts)
        return super().with_margin(cosines, targets, embeddings, training)

    def normalized_centers(self) -> tf.Tensor:
        """Return the direction of the dominant center of every class, `[num_classes, dim]` float32 of unit norm.

        The mean of a class's centers would be worse: those that hold wrong rows, or none, are in it.
        """
        dominant = tf.gather(self.centers_by_class(), tf.argmax(self.chosen, axis=1), batch_dims=1)
        return tf.math.l2_normalize(dominant, axis=1)
