"""Soft histograms with Gaussian kernels in memory linear in the similarities: binned by a cubic, then smoothed.

A similarity is not compared with every node. It is shared between the four nearest bins of a fine grid on [-1, 1], in
the proportions of cubic interpolation, and a constant matrix holds what each bin adds to each node. The error is the
interpolation's: the kernel's fourth derivative times the fourth power of the grid's step.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, Optional

import numpy as np
import tensorflow as tf

from ddl_tf.common.checks import is_whole

# Cells of the grid in one bandwidth.
RESOLUTION = 32
# The exponent of a similarity's largest kernel, less its log factor, nears this and so never underflows.
LARGEST_EXPONENT = 12.5
# The most numbers in the matrix from bins to nodes: 256 MB. A graph holds 2 GB in all.
MAX_MATRIX = 2**26


def log_factor_at(distance: Any, root: Callable[[Any], Any]) -> Any:
    """The log of the factor taken out of a kernel `distance` bandwidths off: 0 near, far all but `LARGEST_EXPONENT`."""
    exponent = 0.5 * distance**2
    return exponent / root(root(1.0 + (exponent / LARGEST_EXPONENT) ** 4)) - exponent


@functools.lru_cache(maxsize=8)
def _smoothing(num_cells: int, num_nodes: int, low: float, high: float, bandwidth: float) -> np.ndarray:
    """`[num_cells + 3, num_nodes]` float32: what a bin adds to each node, its factor taken out."""
    bins = (-1.0 + np.arange(-1, num_cells + 2) * (2.0 / num_cells))[:, np.newaxis]
    distance = np.abs(bins - (low + np.arange(num_nodes) * ((high - low) / num_nodes))) / bandwidth
    log_factor = log_factor_at(distance.min(axis=1, keepdims=True), np.sqrt)
    return np.exp(-0.5 * distance**2 - log_factor).astype(np.float32)


@dataclasses.dataclass(frozen=True)
class Binning:
    """How similarities become distributions; `DDLLoss` explains the fields, and what is refused (ValueError)."""

    num_nodes: int = 1000
    similarity_range: tuple[float, float] = (0.0, 1.0)
    bandwidth: float = 0.1

    def __post_init__(self) -> None:
        nodes, limits, bandwidth = self.num_nodes, self.similarity_range, self.bandwidth
        if not is_whole(nodes) or nodes < 1:
            raise ValueError(f"num_nodes must be a whole number, at least 1, got {nodes!r}")
        if len(limits) != 2 or not -math.inf < limits[0] < limits[1] < math.inf:
            raise ValueError(f"similarity_range must be (low, high) with low < high, both finite, got {limits!r}")
        if not 0 < bandwidth < math.inf:
            raise ValueError(f"bandwidth must be above 0 and finite, got {bandwidth!r}")
        if 2.0 * RESOLUTION / bandwidth * nodes > MAX_MATRIX:
            raise ValueError(
                f"num_nodes / bandwidth must be at most {MAX_MATRIX // (2 * RESOLUTION):,} (a matrix of 256 MB), got "
                f"{nodes!r} / {bandwidth!r}: take fewer nodes or a larger bandwidth"
            )

    @property
    def num_cells(self) -> int:
        """Number of cells that divide [-1, 1]."""
        return max(1, int(np.ceil(2.0 * RESOLUTION / self.bandwidth)))

    @property
    def num_bins(self) -> int:
        """Number of bins: the edges of the cells, and one beyond either end."""
        return self.num_cells + 3

    @property
    def kernel(self) -> np.ndarray:
        """What each bin adds to each node, its factor taken out: `[num_bins, num_nodes]` float32."""
        return _smoothing(self.num_cells, self.num_nodes, *self.similarity_range, self.bandwidth)

    def log_factor(self, similarities: tf.Tensor) -> tf.Tensor:
        """The logarithm of the factor taken out of the kernels of `[count]` similarities, so that none vanishes."""
        low, high = self.similarity_range
        step = (high - low) / self.num_nodes
        nearest = tf.clip_by_value(tf.round((tf.stop_gradient(similarities) - low) / step), 0.0, self.num_nodes - 1.0)
        return log_factor_at((similarities - (low + nearest * step)) / self.bandwidth, tf.sqrt)

    def shares(self, similarities: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Share `[count]` similarities between bins: `[4, count]` int32 bins, and their shares, of sum 1."""
        position = (similarities + 1.0) * (0.5 * self.num_cells)
        # Clipped as integers, so that a NaN has a place and shows in its shares.
        cell = tf.clip_by_value(tf.cast(tf.floor(position), tf.int32), 0, self.num_cells - 1)
        u = position - tf.cast(cell, tf.float32)
        below, above, far = u + 1.0, u - 1.0, u - 2.0
        middle = above * far
        shares = [u * middle / -6.0, below * middle / 2.0, below * u * far / -2.0, below * u * above / 6.0]
        return cell + tf.range(4)[:, tf.newaxis], tf.stack(shares)

    def smooth(self, bins: tf.Tensor) -> tf.Tensor:
        """Make distributions `[groups, num_nodes]` of bins `[groups, num_bins]`: of sum 1, or 0 if empty."""
        histograms = tf.matmul(bins, self.kernel)
        return tf.math.divide_no_nan(histograms, tf.reduce_sum(histograms, axis=1, keepdims=True))


@dataclasses.dataclass(frozen=True)
class GroupSums:
    """Sums over the similarities of each group; those of the kernels are kept as in a log-sum-exp."""

    bins: tf.Tensor  # `[groups, num_bins]`, the shares of the bins, times exp(log factor - `log_scale`)
    totals: tf.Tensor  # `[groups]`, the sum of the similarities
    counts: tf.Tensor  # `[groups]` float32, their number
    log_scale: tf.Tensor  # `[groups]`, the largest log factor of the group; it cancels in the distribution


def log_scales(similarities: tf.Tensor, group: tf.Tensor, num_groups: tf.Tensor, binning: Binning) -> tf.Tensor:
    """The largest log factor of each group, `[num_groups]`; the lowest float32 for a group without similarities."""
    return tf.math.unsorted_segment_max(binning.log_factor(tf.stop_gradient(similarities)), group, num_groups)


def group_sums(
    similarities: tf.Tensor,
    group: tf.Tensor,
    num_groups: tf.Tensor,
    binning: Binning,
    log_scale: Optional[tf.Tensor] = None,
) -> GroupSums:
    """Add up similarities `[count]` by group `[count]`, -1 = none; `log_scale` is at least their `log_scales`."""
    if log_scale is None:
        log_scale = log_scales(similarities, group, num_groups, binning)
    bins, shares = binning.shares(similarities)
    # Those without a group have no bin, and no weight that could overflow.
    log_weight = binning.log_factor(similarities) - tf.gather(log_scale, tf.maximum(group, 0))
    weight = tf.exp(tf.where(group >= 0, log_weight, 0.0))
    place = tf.where(group >= 0, group * binning.num_bins + bins, -1)
    filled = tf.math.unsorted_segment_sum(shares * weight, place, num_groups * binning.num_bins)
    return GroupSums(
        tf.reshape(filled, [num_groups, binning.num_bins]),
        tf.math.unsorted_segment_sum(similarities, group, num_groups),
        tf.math.unsorted_segment_sum(tf.ones_like(similarities), group, num_groups),
        log_scale,
    )
