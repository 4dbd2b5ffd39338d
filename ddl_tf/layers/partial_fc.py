"""Partial FC: a training step meets a part of the classes only."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.keras_version import rows_of
from ddl_tf.common.replicas import gather_rows
from ddl_tf.layers.compact_head import CompactHead, compact_logits
from ddl_tf.layers.margin import MarginHead, Targets, check_argument, cosines_between
from ddl_tf.layers.subcenter import SubCenterArcFace


def sample_classes(
    num_classes: int, size: tf.Tensor, labels: tf.Tensor, seed: tf.Tensor, real: Optional[tf.Tensor] = None
) -> tf.Tensor:
    """Draw `size` of `num_classes` classes: all positive ones, and random negative ones, int32 `[size]`, ascending.

    `labels` int32 `[rows]` are the positive classes, at most `size` of them, repeated or not, and below 0 for none.
    The same seed `[2]` draws the same negatives. Classes from `real` on come last of all: they only fill a shard up.
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


# `.keras` files know it by its first name.
@tf.keras.utils.register_keras_serializable(package="ddl_tf", name="SampledHead")
class PartialFC(CompactHead):
    """A margin head over a sample of the classes, drawn anew in every training step.

    All positive classes of the global batch are in the sample, and random negative ones up to `sample_rate *
    num_classes` in all; all replicas have the same sample. The gradient of the class centers is `tf.IndexedSlices`
    of the sampled rows, so that `ddl_tf.training.L2SGD` changes nothing but these. With labels the logits are
    `compact_logits` `[batch, 3]`, over all classes when not training. At the sample rate 1 it is the head that it
    wraps, with another form of its logits.

    Args:
        head: the margin head whose margin, scale and number of classes are used; not `SubCenterArcFace`.
        sample_rate: share of the classes that take part, in (0, 1].
        seed: of the samples.

    Raises:
        ValueError: if an argument is out of its range, or the head cannot be sampled.

    Example:
        >>> from ddl_tf.layers import ArcFace
        >>> PartialFC(ArcFace(num_classes=1000))(tf.random.normal([4, 512]), tf.constant([0, 1, 2, -1])).shape
        TensorShape([4, 3])

    References:
        An et al., "Killing Two Birds with One Stone ... by Partial FC", CVPR 2022, https://arxiv.org/abs/2203.15565
    """

    _arguments = ("sample_rate", "seed")

    def __init__(self, head: MarginHead, sample_rate: float = 0.1, seed: int = 0, **kwargs: Any) -> None:
        super().__init__(head, **kwargs)
        if isinstance(head, SubCenterArcFace):
            raise ValueError(f"{type(head).__name__} cannot be sampled: it has several centers for a class")
        check_argument(0 < sample_rate <= 1, f"sample_rate must be above 0 and at most 1, got {sample_rate!r}")
        self.sample_rate, self.seed = float(sample_rate), int(seed)

    def build_statistics(self) -> None:
        """Make the statistics of the wrapped head, and the number of samples that were drawn."""
        super().build_statistics()
        # A weight, so that a resumed run goes on with the samples that would have come next.
        self.drawn = self.add_statistic("drawn", 0, dtype=tf.int64)

    def _centers_shape(self, dim: int) -> tuple[int, ...]:
        return (self.num_classes, dim)

    def centers_by_class(self) -> tf.Tensor:
        """Return the class centers, `[num_classes, dim]`."""
        return tf.convert_to_tensor(self.class_centers)

    def assign_centers(self, centers: tf.Tensor) -> None:
        """Set the class centers, `[num_classes, dim]`."""
        self.class_centers.assign(centers)

    def cosines(self, embeddings: tf.Tensor) -> tf.Tensor:
        """Return the cosines to every class, `[batch, num_classes]`."""
        return cosines_between(embeddings, self.class_centers, by_class=True)

    def draw(
        self, labels: tf.Tensor, num_classes: int, shard: tf.Tensor = 0, real: Optional[tf.Tensor] = None
    ) -> tf.Tensor:
        """Draw the next sample of classes, int32 `[sample]`, ascending; the same on all replicas for the same shard."""
        # Never fewer than the batch has rows, each of which may bring a class.
        size = tf.maximum(max(round(self.sample_rate * num_classes), 1), tf.size(labels))
        # A seed has two numbers: the shard stands in the upper half of the first.
        seed = tf.stack([tf.cast(shard, tf.int64) * 2**32 + self.seed, tf.convert_to_tensor(self.drawn)])
        self.drawn.assign_add(1)
        return sample_classes(num_classes, tf.minimum(size, num_classes), labels, seed, real)

    def _compact_logits(self, embeddings: tf.Tensor, labels: tf.Tensor, training: Optional[bool]) -> tf.Tensor:
        if training and self.sample_rate < 1:
            (all_labels,) = gather_rows(labels)
            classes = self.draw(all_labels, self.num_classes)
            cosines = cosines_between(embeddings, rows_of(self.class_centers, classes), by_class=True)
            labels = tf.where(labels >= 0, tf.searchsorted(classes, labels), -1)
        else:
            cosines = self.cosines(embeddings)
        targets = Targets(labels)
        logits = self.scale * self.head.with_margin(cosines, targets, embeddings, training)
        return compact_logits(logits, targets)


# The first name of `PartialFC`, for code that has it.
SampledHead = PartialFC
