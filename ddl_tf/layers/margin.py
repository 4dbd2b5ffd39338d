"""Margin softmax heads: the classification logits of a recognizer."""

import math
from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.common.class_labels import class_numbers
from ddl_tf.common.unit_rows import unit_rows
from ddl_tf.layers.float32 import Float32Layer
from ddl_tf.layers.targets import Targets

CENTERS_STDDEV = 0.01


def cosines_between(embeddings: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """Compute the cosine of every embedding to every center.

    Args:
        embeddings: `[batch, dim]`.
        centers: `[dim, centers]`.

    Returns:
        `[batch, centers]`, in [-1, 1].
    """
    cosines = tf.matmul(unit_rows(embeddings), tf.math.l2_normalize(centers, axis=0))
    # Rounding can carry a product of unit vectors past 1.
    return tf.clip_by_value(cosines, -1.0, 1.0)


def cosines_to_rows(embeddings: tf.Tensor, centers: tf.Tensor) -> tf.Tensor:
    """Compute the cosine of every embedding to every center, where a center is a row.

    Args:
        embeddings: `[batch, dim]`.
        centers: `[centers, dim]`.

    Returns:
        `[batch, centers]`, in [-1, 1].
    """
    units = unit_rows(embeddings), tf.math.l2_normalize(centers, axis=1)
    return tf.clip_by_value(tf.matmul(*units, transpose_b=True), -1.0, 1.0)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class MarginHead(Float32Layer):
    """Scaled cosines between embeddings and class centers; the target's is made harder to raise.

    This base has no margin (it is the normalised softmax). A margin is a subclass with one method: `apply_margin`
    where the target's cosine says all, `with_margin` where the margin depends on more or changes more.

    Args:
        num_classes: number of identities.
        scale: what the cosines are multiplied by.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if `num_classes` or `scale` is not above 0 and finite.

    Example:
        >>> class Half(MarginHead):
        ...     def apply_margin(self, cosine):
        ...         return 0.5 * cosine - 0.5
        >>> Half(num_classes=10)(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 10])

    References:
        Wang et al., "NormFace: L2 Hypersphere Embedding for Face Verification", https://arxiv.org/abs/1704.06369
    """

    # Whether the logits that are made with labels are `compact_logits`.
    compact = False

    def __init__(self, num_classes: int, scale: float = 64.0, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        if not is_whole(num_classes) or num_classes < 1:
            raise ValueError(f"num_classes must be a whole number, at least 1, got {num_classes!r}")
        if not 0 < scale < math.inf:
            raise ValueError(f"scale must be above 0 and finite, got {scale!r}")
        self.num_classes = int(num_classes)
        self.scale = float(scale)

    def build(self, input_shape: Any) -> None:
        """Make the class centers, and the running statistics of the heads that have some.

        Args:
            input_shape: `[batch, dim]`, the shape of the embeddings.
        """
        self.build_statistics()
        self.class_centers = self.add_weight(
            name="class_centers",
            shape=self._centers_shape(int(input_shape[-1])),
            # As InsightFace: only the direction matters, and shorter centers learn faster.
            initializer=tf.keras.initializers.RandomNormal(stddev=CENTERS_STDDEV),
        )
        super().build(input_shape)

    def _centers_shape(self, dim: int) -> tuple[int, ...]:
        return (dim, self.num_classes)

    def build_statistics(self) -> None:
        """Make the running statistics, by `add_statistic`; this base has none."""

    def add_statistic(self, name: str, start: float, shape: tuple[int, ...] = ()) -> tf.Variable:
        """Make a running statistic: a weight that is saved with the head, but not trained.

        Every replica has its own copy, which needs no exchange: all assign the same, that of the global batch.

        Args:
            name: of the weight.
            start: its first value.
            shape: of the weight.

        Returns:
            The weight, float32.
        """
        return self.add_weight(
            name=name,
            shape=shape,
            initializer=tf.keras.initializers.Constant(start),
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def apply_margin(self, cosine: tf.Tensor) -> tf.Tensor:
        """Turn the cosines to the target's center into their margin version.

        Args:
            cosine: `[rows]`, in [-1, 1].

        Returns:
            `[rows]`, falling strictly with the angle.
        """
        return cosine

    def with_margin(
        self, cosines: tf.Tensor, targets: Targets, embeddings: tf.Tensor, training: Optional[bool]
    ) -> tf.Tensor:
        """Turn all cosines into their margin version; this base changes the target's, by `apply_margin`.

        Args:
            cosines: `[batch, num_classes]`, in [-1, 1].
            targets: which cosine of a row is the target's, and which rows have one.
            embeddings: `[batch, dim]` float32, not normalised.
            training: whether running statistics learn from these rows.

        Returns:
            `[batch, num_classes]`; rows without a target are as they were.
        """
        return targets.put(cosines, self.apply_margin(targets.take(cosines)))

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Compute the cosine of every embedding to every class.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.

        Returns:
            `[batch, num_classes]`, in [-1, 1].
        """
        return cosines_between(embeddings, self.class_centers)

    def centers_by_class(self) -> tf.Tensor:
        """Give the class centers in the one layout that all heads share.

        Returns:
            `[num_classes, dim]`, or `[num_classes, sub_centers, dim]`.
        """
        return tf.transpose(self.class_centers, [*range(1, len(self.class_centers.shape)), 0])

    def assign_centers(self, centers: tf.Tensor) -> None:
        """Set the class centers.

        Args:
            centers: as `centers_by_class` gives them.
        """
        self.class_centers.assign(tf.transpose(centers, [len(centers.shape) - 1, *range(len(centers.shape) - 1)]))

    def normalized_centers(self) -> tf.Tensor:
        """Give the direction of every class, to find the identities that lie near to each other.

        Returns:
            `[num_classes, dim]` float32, of unit norm.
        """
        return tf.math.l2_normalize(self.centers_by_class(), axis=1)

    def start_at(self, directions: tf.Tensor) -> None:
        """Let the class centers point somewhere, with the length that random ones begin with.

        Args:
            directions: `[num_classes, dim]`, of unit norm.
        """
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
