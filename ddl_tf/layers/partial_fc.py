"""The sampled head: a training step meets a part of the classes only, in the manner of Partial FC."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.class_labels import class_numbers
from ddl_tf.common.replicas import gather_rows
from ddl_tf.layers.compact_logits import CompactHead, compact_logits
from ddl_tf.layers.margin import MarginHead, cosines_to_rows
from ddl_tf.layers.subcenter import SubCenterArcFace
from ddl_tf.layers.targets import Targets


def sample_classes(
    num_classes: int, size: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, real: Optional[tf.Tensor] = None
) -> tf.Tensor:
    """Draw classes without repetition: all positive classes, and random negative ones.

    Args:
        num_classes: how many there are.
        size: how many to draw, not fewer than there are positive classes.
        labels: int32 `[rows]`, the positive classes, repeated or not; below 0 for none.
        seed: `[2]` int; the same seed draws the same negatives.
        real: the classes from this one on come last of all, since they only fill a shard up.

    Returns:
        int32 `[size]`, ascending.
    """
    # As in InsightFace's PartialFC_V2: the largest of random keys, and no key is as large as that of a positive class.
    # One seed draws the same classes under XLA: its default is another generator, hence philox by name, and it makes
    # other floats of the same bits, hence the floats of TensorFlow's kernel by hand.
    bits = tf.random.stateless_uniform([num_classes], seed, minval=None, maxval=None, dtype=tf.int32, alg="philox")
    keys = tf.cast(tf.bitwise.bitwise_and(bits, 0x7FFFFF), tf.float32) * 2.0**-23
    if real is not None:
        keys = tf.where(tf.range(num_classes) < real, keys, -1.0)
    positive = tf.where(labels >= 0, 2.0, -1.0)
    keys = tf.tensor_scatter_nd_max(keys, tf.maximum(labels, 0)[:, tf.newaxis], positive)
    return tf.sort(tf.math.top_k(keys, size, sorted=False).indices)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class SampledHead(CompactHead):
    """A margin head over a sample of the classes, drawn anew in every training step: Partial FC.

    All positive classes of the global batch are in the sample, and random negative ones up to `sample_rate *
    num_classes` in all; all replicas have the same sample. The gradient of the class centers is `tf.IndexedSlices`
    of the sampled rows, so that `ddl_tf.training.L2SGD` changes nothing but these. At the sample rate 1 it is the head
    that it wraps, with another form of its logits.

    Args:
        head: the margin head whose margin, scale and number of classes are used; not `SubCenterArcFace`.
        sample_rate: share of the classes that take part, in (0, 1].
        seed: of the samples.
        **kwargs: arguments of `tf.keras.layers.Layer`.

    Raises:
        ValueError: if an argument is out of its range, or the head cannot be sampled.

    Example:
        >>> from ddl_tf.layers import ArcFace
        >>> SampledHead(ArcFace(num_classes=1000))(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 3])

    References:
        An et al., "Killing Two Birds with One Stone: Efficient and Robust Training of Face Recognition CNNs by Partial
        FC", CVPR 2022, https://arxiv.org/abs/2203.15565
    """

    def __init__(self, head: MarginHead, sample_rate: float = 0.1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(head, **kwargs)
        if isinstance(head, SubCenterArcFace):
            raise ValueError(f"{type(head).__name__} cannot be sampled: it has several centers for a class")
        if not 0 < sample_rate <= 1:
            raise ValueError(f"sample_rate must be above 0 and at most 1, got {sample_rate!r}")
        self.sample_rate, self.seed = float(sample_rate), int(seed)

    def build_statistics(self) -> None:
        """Make the statistics of the wrapped head, and the number of samples that were drawn."""
        super().build_statistics()
        # A weight, so that a resumed run goes on with the samples that would have come next.
        self.drawn = self.add_weight(
            name="drawn",
            shape=(),
            dtype=tf.int64,
            initializer="zeros",
            trainable=False,
            synchronization=tf.VariableSynchronization.ON_READ,
            aggregation=tf.VariableAggregation.ONLY_FIRST_REPLICA,
        )

    def _centers_shape(self, dim: int) -> tuple[int, ...]:
        return (self.num_classes, dim)

    def centers_by_class(self) -> tf.Tensor:
        """Give the class centers.

        Returns:
            `[num_classes, dim]`.
        """
        return tf.convert_to_tensor(self.class_centers)

    def assign_centers(self, centers: tf.Tensor) -> None:
        """Set the class centers.

        Args:
            centers: `[num_classes, dim]`.
        """
        self.class_centers.assign(centers)

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Compute the cosine of every embedding to every class.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.

        Returns:
            `[batch, num_classes]`, in [-1, 1].
        """
        return cosines_to_rows(embeddings, self.class_centers)

    def draw(
        self, labels: tf.Tensor, num_classes: int, shard: tf.Tensor = 0, real: Optional[tf.Tensor] = None
    ) -> tf.Tensor:
        """Draw the next sample of classes.

        Args:
            labels: int32 `[rows]`, those of the global batch; -1 for none.
            num_classes: of how many.
            shard: which shard of a sharded head it is; each has samples of its own.
            real: as for `sample_classes`.

        Returns:
            int32 `[sample]`, ascending; the same on all replicas for the same shard.
        """
        # Never fewer than the batch has rows, each of which may bring a class.
        size = tf.maximum(max(round(self.sample_rate * num_classes), 1), tf.size(labels))
        # A seed has two numbers: the shard stands in the upper half of the first.
        first = tf.cast(shard, tf.int64) * 2**32 + self.seed
        seed = tf.stack([first, tf.convert_to_tensor(self.drawn)])
        self.drawn.assign_add(1)
        return sample_classes(num_classes, tf.minimum(size, num_classes), labels, seed, real)

    def call(
        self, embeddings: tf.Tensor, labels: Optional[tf.Tensor] = None, training: Optional[bool] = None
    ) -> tf.Tensor:
        """Compute the logits: over a sample of the classes while training, over all of them otherwise.

        Args:
            embeddings: `[batch, dim]`, need not be normalised.
            labels: int `[batch]` or `[batch, 1]`; a row with -1 has no target.
            training: whether to draw a sample (and running statistics to learn from these rows).

        Returns:
            `[batch, 3]` float32, see `compact_logits`; without labels `[batch, num_classes]`, without margin.

        Raises:
            ValueError: as for `MarginHead`.
        """
        if labels is None:
            return self.scale * self.cosines(embeddings)
        labels, out_of_range = class_numbers(labels, embeddings, self.num_classes)
        if training and self.sample_rate < 1:
            (all_labels,) = gather_rows(labels)
            classes = self.draw(all_labels, self.num_classes)
            cosines = cosines_to_rows(embeddings, tf.gather(self.class_centers, classes))
            labels = tf.where(labels >= 0, tf.searchsorted(classes, labels), -1)
        else:
            cosines = self.cosines(embeddings)
        targets = Targets(labels)
        logits = self.scale * self.head.with_margin(cosines, targets, embeddings, training)
        return compact_logits(logits, targets) + out_of_range[:, tf.newaxis]

    def get_config(self) -> dict[str, Any]:
        """Give the constructor's arguments.

        Returns:
            A dict from which `from_config` makes an equal head.
        """
        return {**super().get_config(), "sample_rate": self.sample_rate, "seed": self.seed}
