"""The margin heads that learn from norms or running statistics in `keras.ops`, for Keras on JAX or PyTorch.

The statistics are those of the rows of all devices on JAX, and of a process's own rows on PyTorch.
"""

from typing import Any, Optional

import tensorflow as tf
from keras import ops

from ddl_tf.common.keras_version import BACKEND
from ddl_tf.layers import adaface, curricularface, magface, subcenter
from ddl_tf.layers.ops_margin import ArcFace, MarginHead, angular_margin, cosines_between
from ddl_tf.losses.ops_rows import Tensor, l2_normalize


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CurricularFace(ArcFace, curricularface.CurricularFace):
    """ArcFace whose hard classes are weighted: `ddl_tf.layers.curricularface.CurricularFace`.

    Example:
        >>> tuple(CurricularFace(num_classes=10)(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)

    References:
        Huang et al., "CurricularFace: Adaptive Curriculum Learning Loss ...", https://arxiv.org/abs/2004.00288
    """

    def with_margin(self, cosines: Tensor, targets: Any, embeddings: Tensor, training: Optional[bool]) -> Tensor:
        """Return the cosines `[batch, num_classes]` with the margin, in rows that have a target."""
        cosine = targets.take(cosines)
        t = ops.convert_to_tensor(self.t)
        if training:
            count = targets.count()
            mean = ops.divide_no_nan(targets.total(cosine), count)
            t = ops.where(count > 0, self.momentum * t + (1.0 - self.momentum) * mean, t)
            self.t.assign(t)
        margined = self.apply_margin(cosine)
        hard = targets.labelled[:, None] & (cosines > margined[:, None])
        return targets.put(ops.where(hard, cosines * (t + cosines), cosines), margined)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class AdaFace(MarginHead, adaface.AdaFace):
    """The margin follows the quality of the image: `ddl_tf.layers.adaface.AdaFace`.

    Example:
        >>> tuple(AdaFace(num_classes=10)(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)

    References:
        Kim et al., "AdaFace: Quality Adaptive Margin for Face Recognition", https://arxiv.org/abs/2204.00964
    """

    def with_margin(self, cosines: Tensor, targets: Any, embeddings: Tensor, training: Optional[bool]) -> Tensor:
        """Return the cosines `[batch, num_classes]` with the margin, in rows that have a target."""
        norms = ops.clip(ops.norm(ops.stop_gradient(embeddings), axis=1), *adaface.NORM_RANGE)
        mean, std = self._statistics(norms, targets, training)
        quality = ops.clip(self.h * (norms - mean) / (std + adaface.EPSILON), -1.0, 1.0)
        shift = self.margin * quality
        return targets.put(cosines, angular_margin(targets.take(cosines), -shift) - self.margin - shift)

    def _statistics(self, norms: Tensor, targets: Any, training: Optional[bool]) -> tuple[Tensor, Tensor]:
        mean, std = ops.convert_to_tensor(self.norm_mean), ops.convert_to_tensor(self.norm_std)
        if not training:
            return mean, std
        count = targets.count()
        batch_mean = ops.divide_no_nan(targets.total(norms), count)
        # Divided by one less, as PyTorch does.
        batch_std = ops.sqrt(targets.total((norms - batch_mean) ** 2) / ops.maximum(count - 1.0, 1.0))
        share = ops.where(count > 1, self.t_alpha, 0.0)
        mean = share * batch_mean + (1.0 - share) * mean
        std = share * batch_std + (1.0 - share) * std
        self.norm_mean.assign(mean)
        self.norm_std.assign(std)
        return mean, std


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MagFace(MarginHead, magface.MagFace):
    """The margin grows with the norm of the embedding: `ddl_tf.layers.magface.MagFace`.

    On JAX the regulariser is in the loss as elsewhere, but the metric `magnitude_loss` stays 0: there a step of `fit`
    has no metrics inside of layers.

    Example:
        >>> tuple(MagFace(num_classes=10)(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)

    References:
        Meng et al., "MagFace: A Universal Representation for Face Recognition ...", https://arxiv.org/abs/2103.06627
    """

    def with_margin(self, cosines: Tensor, targets: Any, embeddings: Tensor, training: Optional[bool]) -> Tensor:
        """Return the cosines with the margin, and add the regulariser to the loss."""
        # Clipped before the root, whose slope at 0 is infinite.
        norms = ops.sqrt(ops.clip(ops.sum(embeddings**2, axis=1), self.l_a**2, self.u_a**2))
        of_rows = ops.where(targets.labelled, 1.0 / norms + norms / self.u_a**2, 0.0)
        magnitude_loss = self.lambda_g * ops.divide_no_nan(ops.sum(of_rows), targets.count())
        self.add_loss(magnitude_loss)
        if BACKEND != "jax":
            self.magnitude_loss.update_state(magnitude_loss)
        margins = self.l_margin + (self.u_margin - self.l_margin) / (self.u_a - self.l_a) * (norms - self.l_a)
        return targets.put(cosines, angular_margin(targets.take(cosines), margins))


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class SubCenterArcFace(ArcFace, subcenter.SubCenterArcFace):
    """ArcFace in which a class has several centers: `ddl_tf.layers.subcenter.SubCenterArcFace`.

    Example:
        >>> tuple(SubCenterArcFace(num_classes=10)(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)

    References:
        Deng et al., "Sub-center ArcFace: Boosting Face Recognition by Large-Scale Noisy Web Faces", ECCV 2020
    """

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Return the cosines to the nearest center of every class, `[batch, num_classes]`."""
        cosines = cosines_between(
            embeddings, ops.reshape(self.class_centers, [-1, self.num_classes * self.sub_centers])
        )
        return ops.max(ops.reshape(cosines, [-1, self.num_classes, self.sub_centers]), axis=2)

    def with_margin(self, cosines: Tensor, targets: Any, embeddings: Tensor, training: Optional[bool]) -> Tensor:
        """Return the cosines `[batch, num_classes]` with the margin, in rows that have a target."""
        if training:
            centers = l2_normalize(ops.take(self.class_centers, targets.classes, axis=1), axis=0)
            nearest = ops.cast(ops.argmax(ops.einsum("bd,dbk->bk", embeddings, centers), axis=1), "int32")
            places, places_in_all = targets.classes * self.sub_centers + nearest, self.num_classes * self.sub_centers
            counts = ops.segment_sum(ops.cast(targets.labelled, "float32"), places, places_in_all)
            counts = ops.reshape(counts, [self.num_classes, self.sub_centers])
            memory = ops.power(subcenter.MEMORY, ops.sum(counts, axis=1, keepdims=True))
            self.chosen.assign(self.chosen * memory + counts)
        return ArcFace.with_margin(self, cosines, targets, embeddings, training)

    def normalized_centers(self) -> Tensor:
        """Return the direction of the dominant center of every class, `[num_classes, dim]` float32 of unit norm."""
        dominant = ops.argmax(self.chosen, axis=1)[:, None, None]
        return l2_normalize(ops.take_along_axis(self.centers_by_class(), dominant, axis=1)[:, 0], axis=1)
