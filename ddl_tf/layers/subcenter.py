"""Sub-center ArcFace: several centers a class, so that wrong labels need not pull at the right one."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.common.replicas import global_sum
from ddl_tf.layers.arcface import ArcFace
from ddl_tf.layers.margin import cosines_between
from ddl_tf.layers.targets import Targets

# What a row counts in `chosen`, once the next row of its class has come.
_MEMORY = 0.99


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class SubCenterArcFace(ArcFace):
    """ArcFace in which a class has K centers, and its cosine is that to the nearest one.

    Most right rows of a class gather at one center, the dominant one; it stands for the class outside of the head. The
    running counts `chosen` tell which it is: how many rows of the class were nearest to each center of late.

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
        if not is_whole(sub_centers) or sub_centers < 1:
            raise ValueError(f"sub_centers must be a whole number, at least 1, got {sub_centers!r}")
        self.sub_centers = int(sub_centers)

    def build_statistics(self) -> None:
        """Make the counts."""
        self.chosen = self.add_statistic("chosen", 0.0, (self.num_classes, self.sub_centers))

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

    def with_margin(
        self, cosines: tf.Tensor, targets: Targets, embeddings: tf.Tensor, training: Optional[bool]
    ) -> tf.Tensor:
        """Apply ArcFace's margin.

        Args:
            cosines: `[batch, num_classes]`, in [-1, 1].
            targets: which cosine of a row is the target's, and which rows have one.
            embeddings: `[batch, dim]`, not normalised.
            training: whether these rows are counted in `chosen`.

        Returns:
            `[batch, num_classes]`.
        """
        if training:
            centers = tf.math.l2_normalize(tf.gather(self.class_centers, targets.classes, axis=1), axis=0)
            nearest = tf.argmax(tf.einsum("bd,dbk->bk", embeddings, centers), axis=1, output_type=tf.int32)
            places = tf.stack([targets.classes, nearest], axis=1)
            ones = tf.cast(targets.labelled, tf.float32)
            counts = global_sum(tf.scatter_nd(places, ones, [self.num_classes, self.sub_centers]))
            rows = tf.reduce_sum(counts, axis=1, keepdims=True)
            self.chosen.assign(self.chosen * _MEMORY**rows + counts)
        return super().with_margin(cosines, targets, embeddings, training)

    def normalized_centers(self) -> tf.Tensor:
        """Give the direction of the dominant center of every class.

        The mean of a class's centers would be worse: those that hold wrong rows, or none, are in it.

        Returns:
            `[num_classes, dim]` float32, of unit norm.
        """
        dominant = tf.gather(self.centers_by_class(), tf.argmax(self.chosen, axis=1), batch_dims=1)
        return tf.math.l2_normalize(dominant, axis=1)

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal head.
        """
        return {**super().get_config(), "sub_centers": self.sub_centers}
