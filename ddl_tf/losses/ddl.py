"""Distribution Distillation Loss as a Keras loss."""

from typing import Any, Optional

import tensorflow as tf

from ddl_tf.common.checks import is_whole
from ddl_tf.losses.distributions import DistributionTerms, check_finite, distil
from ddl_tf.losses.embedding_loss import MAX_GROUPS, EmbeddingLoss
from ddl_tf.losses.pair_histograms import negative_sums, positive_sums
from ddl_tf.losses.pair_search import sort_rows
from ddl_tf.losses.soft_histogram import Binning


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class DDLLoss(EmbeddingLoss):
    """Pull the similarity distribution of the hard samples towards that of the easy ones.

    The rows of a batch belong to groups: 0 is the teacher (easy), 1..K are students (hard), -1 takes no part. For
    each group the loss estimates the distributions of its positive and of its hardest negative similarities, and
    adds up the KL divergences from teacher to students and an order term that keeps positives above negatives.
    Under a distribution strategy with `gather`, loss and gradients are those of one device with the global batch.
    Memory is linear in the rows, whatever the number of pairs.

    A term is 0 where its group is missing, has no pair above the threshold or only one identity.

    Args:
        positive_weight: weight of the KL term of the positive distributions.
        negative_weight: weight of the KL term of the negative distributions.
        order_weight: weight of the order term.
        num_nodes: number of nodes of the soft histograms.
        similarity_range: `(low, high)`, the range of similarity that the nodes divide.
        bandwidth: standard deviation of the histogram's Gaussian kernel, in units of similarity.
        positive_threshold: positive pairs with a similarity at or below it are outliers, and dropped.
        stop_teacher_gradient: whether the KL terms leave the teacher alone (in the paper they do not).
        gather: whether replicas pool their rows before the distributions are estimated.
        num_groups: teacher and students, others take no part; None: those of the batch. XLA (`jit_compile`) needs it.
        overlap_weight: weight of the overlap of each group's own distributions, the probability that its negatives are
            at least as similar as its positives. The paper promises a smaller overlap, but has no term for it.

    Raises:
        ValueError: for a `num_nodes` below 1, `num_groups` outside of 1..1024, an empty `similarity_range`, a
            `bandwidth` not above 0, or an argument that is not finite.

    Example:
        >>> embeddings = tf.random.normal([8, 16])
        >>> rows = tf.constant([[0, 0], [0, 0], [1, 0], [1, 0], [2, 1], [2, 1], [3, 1], [3, 1]])
        >>> DDLLoss()(rows, embeddings).shape
        TensorShape([])

    References:
        Huang et al., "Improving Face Recognition from Hard Samples via Distribution Distillation Loss",
        ECCV 2020, https://arxiv.org/abs/2002.03662
    """

    _arguments = (
        *("positive_weight", "negative_weight", "order_weight", "num_nodes", "similarity_range", "bandwidth"),
        *("positive_threshold", "stop_teacher_gradient", "gather", "num_groups", "overlap_weight"),
    )

    def __init__(
        self,
        positive_weight: float = 0.1,
        negative_weight: float = 0.02,
        order_weight: float = 0.5,
        num_nodes: int = 1000,
        similarity_range: tuple[float, float] = (0.0, 1.0),
        bandwidth: float = 0.1,
        positive_threshold: float = 0.0,
        stop_teacher_gradient: bool = False,
        gather: bool = True,
        num_groups: Optional[int] = None,
        overlap_weight: float = 0.0,
        name: str = "ddl",
        **kwargs: Any,
    ) -> None:
        super().__init__(gather=gather, name=name, **kwargs)
        Binning(num_nodes, similarity_range, bandwidth)
        check_finite(positive_weight=positive_weight, negative_weight=negative_weight, order_weight=order_weight)
        check_finite(positive_threshold=positive_threshold, overlap_weight=overlap_weight)
        if num_groups is not None and not (is_whole(num_groups) and 1 <= num_groups <= MAX_GROUPS):
            raise ValueError(f"num_groups must be 1..{MAX_GROUPS}, or None to find it in the batch, got {num_groups!r}")
        self.positive_weight, self.negative_weight, self.order_weight = positive_weight, negative_weight, order_weight
        self.overlap_weight = overlap_weight
        self.num_nodes, self.bandwidth, self.num_groups = num_nodes, bandwidth, num_groups
        self.similarity_range = (similarity_range[0], similarity_range[1])
        self.positive_threshold, self.stop_teacher_gradient = positive_threshold, stop_teacher_gradient

    def terms(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> DistributionTerms:
        """Return the terms of the loss and the distributions behind them; arguments as for `call`."""
        binning = Binning(self.num_nodes, self.similarity_range, self.bandwidth)
        rows = sort_rows(*self.global_batch(y_true, y_pred), self.num_groups)
        sums = positive_sums(rows, self.positive_threshold, binning), negative_sums(rows, binning)
        weights = self.positive_weight, self.negative_weight, self.order_weight, self.overlap_weight
        return distil(*sums, binning, weights, self.stop_teacher_gradient)

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the weighted sum of the terms, `[]` float32."""
        return self.terms(y_true, y_pred).loss
