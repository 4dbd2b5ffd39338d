"""Histogram loss: the probability that a negative pair is more similar than a positive one."""

from typing import Any

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.common.unit_rows import unit_rows
from ddl_tf.losses.embedding_loss import EmbeddingLoss


def _histogram(similarities: tf.Tensor, num_bins: int) -> tf.Tensor:
    """`[count]` similarities -> `[num_bins]`: each is shared linearly between its two neighbouring nodes."""
    position = (similarities + 1.0) * ((num_bins - 1) / 2.0)
    # Clipped as integers, so that a NaN has a place and shows in the loss. A cosine of 1 + 1e-7 goes to the last bin.
    upper = tf.clip_by_value(tf.cast(tf.math.ceil(position), tf.int32), 1, num_bins - 1)
    to_upper = position - tf.cast(upper - 1, tf.float32)
    shares = tf.concat([to_upper, 1.0 - to_upper], 0)
    total = tf.math.unsorted_segment_sum(shares, tf.concat([upper, upper - 1], 0), num_bins)
    return tf.math.divide_no_nan(total, tf.cast(tf.size(similarities), tf.float32))


def probability_of_reverse(positives: tf.Tensor, negatives: tf.Tensor, num_bins: int = 201) -> tf.Tensor:
    """Estimate how likely a random negative pair is at least as similar as a random positive pair.

    Both distributions are histograms on the nodes t_r = -1 + 2 r / (num_bins - 1); a similarity is shared between its
    two nodes, in proportion to the closeness to each. The probability is the sum over r of the negative histogram at r
    times the cumulative positive histogram up to r. It is piecewise differentiable.

    Args:
        positives: `[positives]` cosine similarities of pairs of one identity.
        negatives: `[negatives]` cosine similarities of pairs of two identities.
        num_bins: number of nodes, both ends included.

    Returns:
        `[]` float32 in [0, 1]; 0 if there are no positives or no negatives.

    Example:
        >>> float(probability_of_reverse(tf.constant([0.8]), tf.constant([0.1, 0.9]), num_bins=21))
        0.5

    References:
        Ustinova and Lempitsky, "Learning Deep Embeddings with Histogram Loss", NeurIPS 2016,
        https://arxiv.org/abs/1611.00822, equations 1 to 4.
    """
    positive = _histogram(tf.cast(positives, tf.float32), num_bins)
    negative = _histogram(tf.cast(negatives, tf.float32), num_bins)
    return tf.reduce_sum(negative * tf.cumsum(positive))


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class HistogramLoss(EmbeddingLoss):
    """The probability of reverse over all positive and all negative pairs of the batch; see `probability_of_reverse`.

    Every unordered pair of rows counts: as positive where the identities are equal, as negative where they differ.
    The groups of the rows do not matter. Without positive or without negative pairs the loss is 0.

    Args:
        num_bins: number of nodes of the histograms on [-1, 1], both ends included, at least 2.
        gather: whether replicas pool their rows before pairs are made.

    Example:
        >>> rows = tf.constant([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> embeddings = tf.constant([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
        >>> float(HistogramLoss()(rows, embeddings))
        0.0
    """

    _arguments = ("num_bins", "gather")

    def __init__(self, num_bins: int = 201, gather: bool = True, name: str = "histogram", **kwargs: Any) -> None:
        super().__init__(gather=gather, name=name, **kwargs)
        if not is_whole(num_bins) or num_bins < 2:
            raise ValueError(f"num_bins must be a whole number, at least 2, got {num_bins!r}")
        self.num_bins = num_bins

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss, `[]` float32 in [0, 1]."""
        embeddings, identity, _ = self.global_batch(y_true, y_pred)
        embeddings = unit_rows(embeddings)
        similarity = tf.matmul(embeddings, embeddings, transpose_b=True)
        same = identity[:, tf.newaxis] == identity[tf.newaxis, :]
        rows = tf.range(tf.size(identity))
        pair = rows[:, tf.newaxis] < rows[tf.newaxis, :]
        positives, negatives = tf.boolean_mask(similarity, pair & same), tf.boolean_mask(similarity, pair & ~same)
        return probability_of_reverse(positives, negatives, self.num_bins)
