"""The base of margin heads, and those that need no running statistics, in `keras.ops`, for Keras on JAX or PyTorch."""

import math
from typing import Any, Optional, Union

import tensorflow as tf
from keras import ops

from ddl_tf.layers import arcface, margin
from ddl_tf.layers.arcface import LARGEST_COSINE
from ddl_tf.layers.margin import CENTERS_STDDEV
from ddl_tf.losses.ops_rows import Tensor, class_numbers, l2_normalize, unit_rows, whole_numbers


class Targets:
    """Read and change one column of each row: `ddl_tf.layers.margin.Targets` for Keras on JAX or PyTorch.

    Args:
        labels: int `[batch]` or `[batch, 1]`; -1 for no target.

    Attributes:
        labelled: bool `[batch]`, whether the row has a target.
        classes: int32 `[batch]`, the target; 0 in rows without one.

    Example:
        >>> targets = Targets(np.array([1, -1]))
        >>> np.array(targets.put(np.zeros([2, 3]), targets.take(np.ones([2, 3])))).tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, labels: Any) -> None:
        labels = ops.reshape(ops.cast(whole_numbers(labels, "labels"), "int32"), [-1])
        self.labelled = labels >= 0
        self.classes = ops.maximum(labels, 0)

    def take(self, matrix: Tensor) -> Tensor:
        """Return the targets' values `[batch]` of `[batch, num_classes]`; those of class 0 in rows without one."""
        return ops.take_along_axis(matrix, self.classes[:, None], axis=1)[:, 0]

    def put(self, matrix: Tensor, values: Tensor) -> Tensor:
        """Return `[batch, num_classes]` with `[batch]` values at the targets; rows without one stay as they were."""
        places = self.labelled[:, None] & (ops.arange(matrix.shape[1])[None, :] == self.classes[:, None])
        return ops.where(places, values[:, None], matrix)

    def count(self) -> Tensor:
        """Count the rows of the batch that have a target, `[]` float32."""
        return ops.sum(ops.cast(self.labelled, "float32"))

    def total(self, values: Tensor) -> Tensor:
        """Sum `[batch]` values over the rows of the batch that have a target, without gradient: `[]` float32."""
        return ops.stop_gradient(ops.sum(ops.where(self.labelled, values, 0.0)))


def cosines_between(embeddings: Tensor, centers: Tensor) -> Tensor:
    """The cosines `[batch, centers]` of embeddings `[batch, dim]` to centers `[dim, centers]`."""
    # Rounding can carry a product of unit vectors past 1.
    return ops.clip(ops.matmul(unit_rows(embeddings), l2_normalize(centers, axis=0)), -1.0, 1.0)


def angular_margin(cosine: Tensor, margin: Union[float, Tensor], factor: float = 1.0) -> Tensor:
    """Turn cos(theta) `[rows]` into cos(factor * theta + margin): `ddl_tf.layers.arcface.angular_margin`."""
    theta = ops.arccos(ops.clip(cosine, -LARGEST_COSINE, LARGEST_COSINE))
    last_theta = (math.pi - margin) / factor
    drop = ops.maximum(margin * ops.sin(margin), 1.0 + ops.cos(last_theta))
    return ops.where(theta <= last_theta, ops.cos(ops.maximum(factor * theta + margin, 0.0)), cosine - drop)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MarginHead(margin.MarginHead):
    """Scaled cosines between embeddings and class centers; the target's is made harder to raise.

    This is `ddl_tf.layers.margin.MarginHead` for Keras on JAX or PyTorch: the same arguments, weights, numbers and
    saved configuration. The logits of a row whose label is out of range are NaN. Under jit memory is some 3 numbers
    for each row and class beside the centers, gradient included.

    Example:
        >>> class Half(MarginHead):
        ...     def apply_margin(self, cosine):
        ...         return 0.5 * cosine - 0.5
        >>> tuple(Half(num_classes=10)(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)

    References:
        Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", https://arxiv.org/abs/1704.06369
    """

    def add_statistic(self, name: str, start: float, shape: tuple[int, ...] = (), dtype: Any = tf.float32) -> Any:
        """Make a running statistic: a weight that is saved with the head, but not trained."""
        initializer = tf.keras.initializers.Constant(start)
        return self.add_weight(name=name, shape=shape, dtype=dtype.name, initializer=initializer, trainable=False)

    def with_margin(self, cosines: Tensor, targets: Any, embeddings: Tensor, training: Optional[bool]) -> Tensor:
        """Turn all cosines `[batch, num_classes]` into their margin version; this base changes the target's."""
        return targets.put(cosines, self.apply_margin(targets.take(cosines)))

    def cosines(self, embeddings: Tensor) -> Tensor:
        """Return the cosines of embeddings `[batch, dim]`, of any length, to every class: `[batch, num_classes]`."""
        return cosines_between(embeddings, self.class_centers)

    def centers_by_class(self) -> Tensor:
        """Return the class centers as `[num_classes, dim]`, or `[num_classes, sub_centers, dim]`."""
        return ops.moveaxis(ops.convert_to_tensor(self.class_centers), 0, -1)

    def assign_centers(self, centers: Any) -> None:
        """Set the class centers, in the layout of `centers_by_class`."""
        self.class_centers.assign(ops.moveaxis(ops.convert_to_tensor(centers), -1, 0))

    def normalized_centers(self) -> Tensor:
        """Return the direction of every class, `[num_classes, dim]` float32 of unit norm."""
        return l2_normalize(self.centers_by_class(), axis=1)

    def start_at(self, directions: Any) -> None:
        """Let the centers point to `directions` `[num_classes, dim]` of unit norm, as long as random ones begin."""
        directions = ops.convert_to_tensor(directions, "float32")
        self.assign_centers(CENTERS_STDDEV * math.sqrt(directions.shape[1]) * directions)

    def call(self, embeddings: Tensor, labels: Optional[Tensor] = None, training: Optional[bool] = None) -> Tensor:
        """Compute the logits.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.
            labels: int `[batch]` or `[batch, 1]`; a row with -1 has no target, hence no margin. Without labels no
                row has one.
            training: whether running statistics (of the heads that have some) learn from these rows.

        Returns:
            `[batch, num_classes]` float32.

        Raises:
            ValueError: for labels that are no whole numbers, one for each row.
        """
        if labels is None:
            return self.scale * self.cosines(embeddings)
        labels, out_of_range = class_numbers(labels, embeddings, self.num_classes)
        cosines = self.with_margin(self.cosines(embeddings), Targets(labels), embeddings, training)
        return (self.scale + out_of_range)[:, None] * cosines


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CombinedMargin(MarginHead, arcface.CombinedMargin):
    """The target's cosine becomes cos(m1 * theta + m2) - m3: `ddl_tf.layers.arcface.CombinedMargin`.

    Example:
        >>> head = CombinedMargin(num_classes=10, m1=1.0, m2=0.3, m3=0.2)
        >>> tuple(head(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)
    """

    def apply_margin(self, cosine: Tensor) -> Tensor:
        """Return `[rows]` cosines with the three margins."""
        return angular_margin(cosine, self.m2, self.m1) - self.m3


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class ArcFace(CombinedMargin, arcface.ArcFace):
    """The target's cosine becomes cos(theta + margin): `ddl_tf.layers.arcface.ArcFace`.

    Example:
        >>> tuple(ArcFace(num_classes=10)(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)

    References:
        Deng et al., "ArcFace: Additive Angular Margin Loss ...", https://arxiv.org/abs/1801.07698
    """


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class CosFace(MarginHead, arcface.CosFace):
    """The target's cosine becomes cos(theta) - margin: `ddl_tf.layers.arcface.CosFace`.

    Example:
        >>> tuple(CosFace(num_classes=10)(np.ones([4, 512]), np.array([0, 1, 2, -1])).shape)
        (4, 10)

    References:
        Wang et al., "CosFace: Large Margin Cosine Loss for Deep Face Recognition", https://arxiv.org/abs/1801.09414
    """
