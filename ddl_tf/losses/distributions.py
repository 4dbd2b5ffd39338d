"""Similarity distributions, their divergence and their order: the formulas of the paper, on plain similarities."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Union

import tensorflow as tf

from ddl_tf.common.checks import require
from ddl_tf.losses.soft_histogram import Binning, GroupSums, group_sums

# As the authors' code: inside the logarithm, and added to the teacher's distribution.
EPSILON = 1e-9

Similarities = Union[Sequence[tf.Tensor], tf.RaggedTensor]


@dataclasses.dataclass(frozen=True)
class DistributionTerms:
    """The terms of the Distribution Distillation Loss, with what they are made of.

    Attributes:
        positive_kl, negative_kl: `[]`, sums over students of KL(teacher || student) of the distributions.
        order: `[]`, sum over all ordered pairs of groups of E[S-_i] - E[S+_j].
        overlap: `[]`, sum over groups of the probability that a negative is at least as similar as a positive.
        loss: `[]`, the weighted sum of the four.
        positive_distributions, negative_distributions: `[groups, num_nodes]`, each of sum 1, or 0 without similarities.
        positive_means, negative_means: `[groups]`, E[S+] and E[S-] of each group; 0 without similarities.
        has_positives, has_negatives: `[groups]` bool.
    """

    positive_kl: tf.Tensor
    negative_kl: tf.Tensor
    order: tf.Tensor
    overlap: tf.Tensor
    loss: tf.Tensor
    positive_distributions: tf.Tensor
    negative_distributions: tf.Tensor
    positive_means: tf.Tensor
    negative_means: tf.Tensor
    has_positives: tf.Tensor
    has_negatives: tf.Tensor


def check_finite(**arguments: float) -> None:
    """Refuse (ValueError) arguments that are not finite."""
    for name, value in arguments.items():
        if not math.isfinite(value):
            raise ValueError(f"{name} must be finite, got {value!r}")


def _cosines(values: tf.Tensor) -> tf.Tensor:
    """Similarities, which beyond +-1 (and more than rounding) have no bin: refused, and under XLA not a number."""
    good = ~(tf.abs(values) > 1.001)
    largest = tf.reduce_max(tf.abs(tf.concat([values, [0.0]], 0)))
    with tf.control_dependencies(
        require(tf.reduce_all(good), "similarities must be in [-1, 1]; the largest is", largest)
    ):
        return tf.where(good, values, float("nan"))


def _flat(similarities: Similarities) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
    """`[count]` similarities and their groups, and how many groups there are; teacher first."""
    if isinstance(similarities, tf.RaggedTensor):
        values, group, num_groups = similarities.values, similarities.value_rowids(), similarities.nrows()
        return _cosines(tf.cast(values, tf.float32)), tf.cast(group, tf.int32), tf.cast(num_groups, tf.int32)
    rows = [tf.reshape(tf.cast(row, tf.float32), [-1]) for row in similarities]
    group = tf.concat([tf.fill([tf.size(row)], number) for number, row in enumerate(rows)], 0)
    return _cosines(tf.concat(rows, 0)), group, tf.constant(len(rows))


def similarity_distribution(
    similarities: tf.Tensor,
    num_nodes: int = 1000,
    similarity_range: tuple[float, float] = (0.0, 1.0),
    bandwidth: float = 0.1,
) -> tf.Tensor:
    """Estimate the distribution of similarities by a soft histogram with Gaussian kernels: section 3.2 of DDL's paper.

    Every similarity adds exp(-(s - t_r)^2 / (2 bandwidth^2)) to node r; the sum over the nodes is then scaled to
    1. It is differentiable in the similarities.

    Args:
        similarities: `[count]`, cosine similarities; any float type.
        num_nodes: number of nodes of the histogram.
        similarity_range: `(low, high)`, the range that the nodes divide.
        bandwidth: standard deviation of the kernel, in units of similarity.

    Returns:
        `[num_nodes]` float32, of sum 1; all 0 if there are no similarities.

    Raises:
        ValueError: for arguments as in `DDLLoss`.
        ValueError, in a graph tf.errors.InvalidArgumentError: for a similarity outside of [-1, 1].

    Example:
        >>> distribution = similarity_distribution(tf.constant([0.2, 0.25, 0.7]))
        >>> round(float(tf.reduce_sum(distribution)), 3)
        1.0
    """
    binning = Binning(num_nodes, similarity_range, bandwidth)
    return binning.smooth(group_sums(*_flat([similarities]), binning).bins)[0]


def distribution_distillation(
    positives: Similarities,
    negatives: Similarities,
    positive_weight: float = 0.1,
    negative_weight: float = 0.02,
    order_weight: float = 0.5,
    num_nodes: int = 1000,
    similarity_range: tuple[float, float] = (0.0, 1.0),
    bandwidth: float = 0.1,
    stop_teacher_gradient: bool = False,
    overlap_weight: float = 0.0,
) -> DistributionTerms:
    """Distil the similarity distributions of the teacher group into those of the students: section 3.3 of DDL's paper.

    The Kullback-Leibler terms pull each student's positive and negative distributions to the teacher's; the order
    term keeps every group's positives above every group's negatives, so that the teacher is not pulled down. The
    overlap term, which is not the paper's, pulls a group's positives and negatives apart where they overlap.

    `positives` and `negatives` are a `[count]` tensor of similarities for each group, teacher first: a list, or a
    ragged tensor `[groups, None]`. The other arguments, and which are refused, are those of `DDLLoss`.

    Returns:
        The terms. A term that concerns a group without similarities is 0, and so is its gradient.

    Raises:
        ValueError, in a graph tf.errors.InvalidArgumentError: for a similarity outside of [-1, 1].

    Example:
        >>> terms = distribution_distillation([[0.8, 0.7], [0.4, 0.3]], [[0.1, 0.2], [0.3, 0.2]])
        >>> float(terms.positive_kl) > float(terms.negative_kl)
        True
    """
    binning = Binning(num_nodes, similarity_range, bandwidth)
    check_finite(positive_weight=positive_weight, negative_weight=negative_weight, order_weight=order_weight)
    check_finite(overlap_weight=overlap_weight)
    sums = group_sums(*_flat(positives), binning), group_sums(*_flat(negatives), binning)
    weights = positive_weight, negative_weight, order_weight, overlap_weight
    return distil(*sums, binning, weights, stop_teacher_gradient)


def distil(
    positives: GroupSums,
    negatives: GroupSums,
    binning: Binning,
    weights: tuple[float, float, float, float],
    stop_teacher_gradient: bool,
) -> DistributionTerms:
    """Compute the terms from the sums of each group; weights: of the positive, negative, order and overlap term."""
    distributions = tf.split(binning.smooth(tf.concat([positives.bins, negatives.bins], 0)), 2)
    means = [tf.math.divide_no_nan(sums.totals, sums.counts) for sums in (positives, negatives)]
    has_positives, has_negatives = present = positives.counts > 0, negatives.counts > 0
    divergences = []
    for distribution, exists in zip(distributions, present):
        teacher, students = distribution[:1] + EPSILON, distribution[1:] + EPSILON
        teacher = tf.stop_gradient(teacher) if stop_teacher_gradient else teacher
        kl = tf.reduce_sum(teacher * (tf.math.log(teacher) - tf.math.log(students)), axis=1)
        # A pair with a missing side counts 0.
        divergences.append(tf.reduce_sum(tf.where(exists[:1] & exists[1:], kl, 0.0)))
    differences = means[1][:, tf.newaxis] - means[0][tf.newaxis, :]
    order = tf.reduce_sum(tf.where(has_negatives[:, tf.newaxis] & has_positives[tf.newaxis, :], differences, 0.0))
    # A group without a side has an empty distribution, and counts 0.
    overlap = tf.reduce_sum(distributions[1] * tf.cumsum(distributions[0], axis=1))
    loss = weights[0] * divergences[0] + weights[1] * divergences[1] + weights[2] * order + weights[3] * overlap
    terms = [*divergences, order, overlap, loss, *distributions, *means, *present]
    return DistributionTerms(*terms)
