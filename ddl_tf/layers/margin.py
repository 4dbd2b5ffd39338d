"""Margin softmax heads: the classification logits of a recognizer."""

import math
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.common.class_labels import class_numbers, flat_labels
from ddl_tf.common.keras_version import BACKEND, WITHOUT_CAST, OfThisKeras, add_replica_statistic
from ddl_tf.common.replicas import global_sum
from ddl_tf.common.unit_rows import unit_rows

CENTERS_STDDEV = 0.01
# Of shorter centers than the root of this the cosines shrink with the length, as with `tf.math.l2_normalize`.
_LEAST_SQUARE = 1e-12


def check_argument(good: bool, message: str) -> None:
    """Refuse an argument of a layer."""
    if not good:
        raise ValueError(message)


class Targets:
    """Read and change one column of each row, and count over the rows that have a target.

    Args:
        labels: int `[batch]` or `[batch, 1]`; -1 for no target. Heads have checked their range.

    Raises:
        ValueError: for labels of another type or shape.

    Attributes:
        labelled: bool `[batch]`, whether the row has a target.
        classes: int32 `[batch]`, the target; 0 in rows without one.

    Example:
        >>> targets = Targets(tf.constant([1, -1]))
        >>> targets.put(tf.zeros([2, 3]), targets.take(tf.ones([2, 3]))).numpy().tolist()
        [[0.0, 1.0, 0.0], [0.0, 0.0, 0.0]]
    """

    def __init__(self, labels: tf.Tensor) -> None:
        labels = tf.cast(flat_labels(labels), tf.int32)
        self.labelled = labels >= 0
        self.classes = tf.maximum(labels, 0)
        self._places = tf.stack([tf.range(tf.shape(labels)[0]), self.classes], axis=1)

    def take(self, matrix: tf.Tensor) -> tf.Tensor:
        """Return the targets' values `[batch]` of `[batch, num_classes]`; those of class 0 in rows without one."""
        return tf.gather_nd(matrix, self._places)

    def put(self, matrix: tf.Tensor, values: tf.Tensor) -> tf.Tensor:
        """Return `[batch, num_classes]` with `[batch]` values at the targets; rows without one stay as they were."""
        values = tf.where(self.labelled, values, self.take(matrix))
        return tf.tensor_scatter_nd_update(matrix, self._places, values)

    def count(self) -> tf.Tensor:
        """Count the rows of the global batch that have a target, `[]` float32."""
        return global_sum(tf.reduce_sum(tf.cast(self.labelled, tf.float32)))

    def total(self, values: tf.Tensor) -> tf.Tensor:
        """Sum `[batch]` values over the rows of the global batch that have a target, without gradient: `[]` float32."""
        return global_sum(tf.stop_gradient(tf.reduce_sum(tf.where(self.labelled, values, 0.0))))


def cosines_between(embeddings: tf.Tensor, centers: tf.Tensor, by_class: bool = False) -> tf.Tensor:
    """The cosines `[batch, centers]` of embeddings `[batch, dim]` to centers `[dim, centers]`, by class transposed."""

    # The products are divided by the norms, not the centers: of very many classes each matrix more, such as those that
    # the gradient of `tf.math.l2_normalize` makes, costs memory and time as the centers themselves do.
    @tf.custom_gradient
    def cosines(units: tf.Tensor, centers: tf.Tensor):  # noqa: ANN202 (what tf.custom_gradient asks for)
        squares = tf.reduce_sum(tf.square(centers), axis=1 if by_class else 0)
        inverse = tf.math.rsqrt(tf.maximum(squares, _LEAST_SQUARE))
        values = tf.matmul(units, centers, transpose_b=by_class) * inverse

        def gradients(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            scaled = upstream * inverse
            # A longer center has the same cosines.
            along = tf.where(squares > _LEAST_SQUARE, tf.reduce_sum(upstream * values, axis=0) * inverse**2, 0.0)
            to_units = tf.matmul(scaled, centers, transpose_b=not by_class)
            # One large product after the other: each holds matrices of its own meanwhile.
            with tf.control_dependencies([to_units]):
                pair = (scaled, units) if by_class else (units, scaled)
                to_centers = tf.matmul(*pair, transpose_a=True)
            with tf.control_dependencies([to_centers]):
                to_centers -= (along[:, tf.newaxis] if by_class else along) * centers
            return to_units, to_centers

        return values, gradients

    # Rounding can carry a product of unit vectors past 1.
    return tf.clip_by_value(cosines(unit_rows(embeddings), tf.convert_to_tensor(centers)), -1.0, 1.0)


class _RandomCenters(tf.keras.initializers.RandomNormal):
    """Random centers. Outside of a graph TensorFlow would hold the matrix three times while it draws them."""

    def __call__(self, shape: Any, dtype: Any = None, **kwargs: Any) -> Any:
        draw = super().__call__
        if BACKEND != "tensorflow":
            return draw(shape, dtype, **kwargs)
        # A shape that it knew beforehand TensorFlow would take for a reason to keep the matrix as a constant.
        return tf.ensure_shape(tf.function(lambda shape: draw(shape, dtype, **kwargs))(tf.constant(shape)), shape)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MarginHead(OfThisKeras, tf.keras.layers.Layer):
    """Scaled cosines between embeddings and class centers; the target's is made harder to raise.

    This base has no margin (it is the normalised softmax). A margin is a subclass with one method: `apply_margin`
    where the target's cosine says all, `with_margin` where the margin depends on more or changes more. Weights and
    output are float32 under any precision policy: a cosine near 1 has no digits left in half precision.

    Args:
        num_classes: number of identities.
        scale: factor of the cosines.
        **kwargs: arguments of `tf.keras.layers.Layer`; `dtype` is replaced by float32.

    Raises:
        ValueError: if an argument, of this class or a subclass, is out of its range.

    Example:
        >>> class Half(MarginHead):
        ...     def apply_margin(self, cosine):
        ...         return 0.5 * cosine - 0.5
        >>> Half(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", https://arxiv.org/abs/1704.06369
    """

    # The constructor's arguments, which stand in attributes of these names: the configuration.
    _arguments: tuple[str, ...] = ("num_classes", "scale")
    # Whether the logits that are made with labels are `compact_logits`.
    compact = False

    def __init__(self, num_classes: int, scale: float = 64.0, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})
        check_argument(
            is_whole(num_classes) and num_classes >= 1,
            f"num_classes must be a whole number, at least 1, got {num_classes!r}",
        )
        check_argument(0 < scale < math.inf, f"scale must be above 0 and finite, got {scale!r}")
        self.num_classes, self.scale = int(num_classes), float(scale)

    def build(self, input_shape: Any) -> None:
        """Make the class centers, and the running statistics of the heads that have some."""
        self.build_statistics()
        self.class_centers = self.add_weight(
            name="class_centers",
            shape=self._centers_shape(int(input_shape[-1])),
            # As InsightFace: only the direction matters, and shorter centers learn faster.
            initializer=_RandomCenters(stddev=CENTERS_STDDEV),
            **WITHOUT_CAST,
        )
        super().build(input_shape)

    def _centers_shape(self, dim: int) -> tuple[int, ...]:
        return (dim, self.num_classes)

    def build_statistics(self) -> None:
        """Make the running statistics, by `add_statistic`; this base has none."""

    def add_statistic(
        self, name: str, start: float, shape: tuple[int, ...] = (), dtype: tf.DType = tf.float32
    ) -> tf.Variable:
        """Make a running statistic: a weight that is saved with the head, but not trained.

        Every replica has its own copy, which needs no exchange: all assign the same, that of the global batch.
        """
        return add_replica_statistic(self, name, start, shape, dtype)

    def apply_margin(self, cosine: tf.Tensor) -> tf.Tensor:
        """Turn the target's cosines `[rows]` into their margin version, which falls strictly with the angle."""
        return cosine

    def with_margin(
        self, cosines: tf.Tensor, targets: Targets, embeddings: tf.Tensor, training: Optional[bool]
    ) -> tf.Tensor:
        """Turn all cosines `[batch, num_classes]` into their margin version; this base changes the target's.

        Embeddings are `[batch, dim]` float32, not normalised; `training` is whether running statistics learn from these
        rows. Rows without a target stay as they are.
        """
        return targets.put(cosines, self.apply_margin(targets.take(cosines)))

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Return the cosines of embeddings `[batch, dim]`, of any length, to every class: `[batch, num_classes]`."""
        return cosines_between(embeddings, self.class_centers)

    def centers_by_class(self) -> tf.Tensor:
        """Return the class centers as `[num_classes, dim]`, or `[num_classes, sub_centers, dim]`."""
        return tf.transpose(self.class_centers, [*range(1, len(self.class_centers.shape)), 0])

    def assign_centers(self, centers: tf.Tensor) -> None:
        """Set the class centers, in the layout of `centers_by_class`."""
        self.class_centers.assign(tf.transpose(centers, [len(centers.shape) - 1, *range(len(centers.shape) - 1)]))

    def normalized_centers(self) -> tf.Tensor:
        """Return the direction of every class, `[num_classes, dim]` float32 of unit norm."""
        return tf.math.l2_normalize(self.centers_by_class(), axis=1)

    def start_at(self, directions: tf.Tensor) -> None:
        """Let the centers point to `directions` `[num_classes, dim]` of unit norm, as long as random ones begin."""
        directions = tf.cast(directions, tf.float32)
        self.assign_centers(CENTERS_STDDEV * tf.sqrt(float(directions.shape[1])) * directions)

    def call(
        self, embeddings: tf.Tensor, labels: Optional[tf.Tensor] = None, training: Optional[bool] = None
    ) -> tf.Tensor:
        """Compute the logits.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.
            labels: int `[batch]` or `[batch, 1]`; a row with -1 has no target, hence no margin. Without labels no
                row has one.
            training: whether running statistics (of the heads that have some) learn from these rows.

        Returns:
            `[batch, num_classes]` float32.

        Raises:
            ValueError: for labels that are not class numbers, one for each row.
            ValueError, in a graph tf.errors.InvalidArgumentError: for a label out of range. Where the graph drops the
                check (XLA) the row's logits are not numbers.
        """
        if labels is None:
            return self.scale * self.cosines(embeddings)
        labels, out_of_range = class_numbers(labels, embeddings, self.num_classes)
        cosines = self.with_margin(self.cosines(embeddings), Targets(labels), embeddings, training)
        return (self.scale + out_of_range)[:, tf.newaxis] * cosines

    def get_config(self) -> dict[str, Any]:
        """Return the constructor's arguments."""
        return {**super().get_config(), **{name: getattr(self, name) for name in self._arguments}}
