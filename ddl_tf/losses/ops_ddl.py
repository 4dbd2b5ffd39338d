"""Distribution Distillation Loss in `keras.ops`, for Keras on JAX or PyTorch."""

from typing import Any

import keras
import tensorflow as tf
from keras import ops

from ddl_tf.common.keras_version import BACKEND
from ddl_tf.losses import ddl
from ddl_tf.losses.distributions import EPSILON, DistributionTerms
from ddl_tf.losses.ops_histogram import Binning, group_sums
from ddl_tf.losses.ops_rows import Tensor, unit_rows, whole_numbers
from ddl_tf.losses.soft_histogram import GroupSums


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class DDLLoss(ddl.DDLLoss):
    """Pull the similarity distribution of the hard samples towards that of the easy ones.

    This is `ddl_tf.losses.ddl.DDLLoss` for Keras on JAX or PyTorch: the same arguments, terms, numbers and saved
    configuration. `num_groups` must be given, since the shapes of a compiled step are fixed.

    Memory is quadratic in the rows, whatever the number of nodes. With the gradient it is 64 * batch^2 bytes under jit
    (65 MB for 1,024 rows), and some 200 * batch^2 on PyTorch without compilation.

    On JAX identities are int32, unless it runs with `JAX_ENABLE_X64=1`. Larger ones are refused where they come as
    arrays of NumPy; in `fit` JAX cuts them off before the loss sees them, so number identities from 0 on. On several
    devices the distributions are those of the global batch.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> rows = np.array([[0, 0], [0, 0], [1, 0], [1, 0], [2, 1], [2, 1], [3, 1], [3, 1]])
        >>> DDLLoss(num_groups=2)(rows, rng.normal(size=[8, 16])).shape == ()
        True

    References:
        Huang et al., "Improving Face Recognition from Hard Samples via Distribution Distillation Loss",
        ECCV 2020, https://arxiv.org/abs/2002.03662
    """

    def terms(self, y_true: Any, y_pred: Any) -> DistributionTerms:
        """Compute the terms of the loss and the distributions behind them.

        Args:
            y_true: int `[batch, 2]`, identity and group of each row.
            y_pred: float `[batch, dim]`, embeddings of any length.

        Returns:
            The terms, of the backend's tensors.

        Raises:
            ValueError: without `num_groups`; for rows that are not whole numbers, or of another shape or number; for a
                `gather` that the backend does not have.
        """
        if self.num_groups is None:
            reason = "the shapes of a compiled step are fixed"
            raise ValueError(f"num_groups must be given on the backend {BACKEND}, since {reason}: teacher and students")
        _check_gather(self.gather)
        rows, embeddings = _checked_rows(y_true, y_pred)
        groups, binning = self.num_groups, Binning(self.num_nodes, self.similarity_range, self.bandwidth)
        takes_part = (rows[:, 1] >= 0) & (rows[:, 1] < groups)
        # Rows that take no part are set to 0, so that nothing of them, not even a NaN, reaches the others.
        embeddings = ops.where(takes_part[:, None], unit_rows(embeddings), 0.0)
        identity, group = rows[:, 0], ops.cast(ops.where(takes_part, rows[:, 1], groups), "int32")
        similarity = ops.matmul(embeddings, ops.transpose(embeddings))
        in_group = takes_part[:, None] & (group[:, None] == group[None, :])
        same = identity[:, None] == identity[None, :]

        number = ops.arange(len(group))
        # A pair counts once. NaN counts, so that it shows.
        pair = in_group & same & (number[:, None] < number[None, :]) & ~(similarity <= self.positive_threshold)
        pair_group = ops.where(pair, group[:, None], groups)
        positives = group_sums(ops.reshape(similarity, [-1]), ops.reshape(pair_group, [-1]), groups, binning)

        negative = in_group & ~same
        # -2 is below every cosine.
        hardest = ops.argmax(ops.where(negative, ops.stop_gradient(similarity), -2.0), axis=1)
        largest = ops.take_along_axis(similarity, hardest[:, None], axis=1)[:, 0]
        negatives = group_sums(largest, ops.where(ops.any(negative, axis=1), group, groups), groups, binning)

        weights = self.positive_weight, self.negative_weight, self.order_weight, self.overlap_weight
        return _distil(positives, negatives, binning, weights, self.stop_teacher_gradient)


def _check_gather(gather: bool) -> None:
    """Refuse what the backend cannot do: JAX has the rows of all devices in one step, a process of PyTorch its own."""
    if BACKEND == "jax" and not gather and keras.distribution.distribution() is not None:
        raise ValueError("gather=False needs TensorFlow: on the backend jax a step has the rows of all devices")
    if BACKEND == "torch" and gather:
        import torch.distributed as processes

        if processes.is_available() and processes.is_initialized() and processes.get_world_size() > 1:
            raise ValueError("gather=True needs TensorFlow or JAX: on the backend torch a process has its own rows")


def _checked_rows(y_true: Any, y_pred: Any) -> tuple[Tensor, Tensor]:
    """Return rows and embeddings if they fit, else ValueError."""
    rows, embeddings = whole_numbers(y_true, "identity and group of the rows"), ops.convert_to_tensor(y_pred)
    if len(rows.shape) != 2 or rows.shape[1] != 2:
        raise ValueError(f"rows must be of shape [batch, 2], identity and group of each, got {list(rows.shape)}")
    if len(embeddings.shape) != 2 or embeddings.shape[0] != rows.shape[0] or not rows.shape[0]:
        raise ValueError(f"embeddings must be of shape [{rows.shape[0]}, dim], got {list(embeddings.shape)}")
    return rows, embeddings


def _distil(
    positives: GroupSums,
    negatives: GroupSums,
    binning: Binning,
    weights: tuple[float, float, float, float],
    stop_teacher_gradient: bool,
) -> DistributionTerms:
    """`distributions.distil`: the terms from the sums of each group."""
    distributions = [binning.smooth(sums.bins) for sums in (positives, negatives)]
    means = [ops.divide_no_nan(sums.totals, sums.counts) for sums in (positives, negatives)]
    has_positives, has_negatives = present = positives.counts > 0, negatives.counts > 0
    divergences = []
    for distribution, exists in zip(distributions, present):
        teacher, students = distribution[:1] + EPSILON, distribution[1:] + EPSILON
        teacher = ops.stop_gradient(teacher) if stop_teacher_gradient else teacher
        kl = ops.sum(teacher * (ops.log(teacher) - ops.log(students)), axis=1)
        # A pair with a missing side counts 0.
        divergences.append(ops.sum(ops.where(exists[:1] & exists[1:], kl, 0.0)))
    differences = means[1][:, None] - means[0][None, :]
    order = ops.sum(ops.where(has_negatives[:, None] & has_positives[None, :], differences, 0.0))
    overlap = ops.sum(distributions[1] * ops.cumsum(distributions[0], axis=1))
    loss = weights[0] * divergences[0] + weights[1] * divergences[1] + weights[2] * order + weights[3] * overlap
    terms = [*divergences, order, overlap, loss, *distributions, *means, *present]
    return DistributionTerms(*terms)
