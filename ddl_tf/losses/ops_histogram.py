"""Soft histograms in `keras.ops`: the bins and the smoothing of `soft_histogram`, for Keras on JAX or PyTorch."""

from keras import ops

from ddl_tf.losses import soft_histogram
from ddl_tf.losses.ops_rows import Tensor
from ddl_tf.losses.soft_histogram import GroupSums, log_factor_at


class Binning(soft_histogram.Binning):
    """How similarities become distributions, on tensors of the backend."""

    def log_factor(self, similarities: Tensor) -> Tensor:
        """The logarithm of the factor taken out of the kernels of `[count]` similarities, so that none vanishes."""
        low, high = self.similarity_range
        step = (high - low) / self.num_nodes
        nearest = ops.clip(ops.round((ops.stop_gradient(similarities) - low) / step), 0.0, self.num_nodes - 1.0)
        return log_factor_at((similarities - (low + nearest * step)) / self.bandwidth, ops.sqrt)

    def shares(self, similarities: Tensor) -> tuple[Tensor, list[Tensor]]:
        """Share `[count]` similarities between four bins: `[count]` int32, the first; four `[count]`, of sum 1."""
        position = (similarities + 1.0) * (0.5 * self.num_cells)
        # Clipped as integers, so that a NaN has a place and shows in its shares.
        cell = ops.clip(ops.cast(ops.floor(ops.stop_gradient(position)), "int32"), 0, self.num_cells - 1)
        u = position - ops.cast(cell, "float32")
        below, above, far = u + 1.0, u - 1.0, u - 2.0
        middle = above * far
        return cell, [u * middle / -6.0, below * middle / 2.0, below * u * far / -2.0, below * u * above / 6.0]

    def smooth(self, bins: Tensor) -> Tensor:
        """Make distributions `[groups, num_nodes]` of bins `[groups, num_bins]`: of sum 1, or 0 if empty."""
        histograms = ops.matmul(bins, ops.convert_to_tensor(self.kernel))
        return ops.divide_no_nan(histograms, ops.sum(histograms, axis=1, keepdims=True))


def group_sums(similarities: Tensor, group: Tensor, num_groups: int, binning: Binning) -> GroupSums:
    """Add up similarities `[count]` by group `[count]` int32, of which `num_groups` is that of none.

    Under jit memory is some 16 numbers for each similarity, gradient included.
    """
    counted = group < num_groups
    # Those of no group have a sum of their own, and no part in any gradient, whatever they are.
    similarities = ops.where(counted, similarities, 0.0)
    log_factor = binning.log_factor(similarities)
    log_scale = ops.segment_max(ops.stop_gradient(log_factor), group, num_groups + 1)
    weight = ops.exp(log_factor - ops.take(log_scale, group))
    first, shares = binning.shares(similarities)
    place = group * binning.num_bins + first
    bins = [
        ops.segment_sum(weight * share, place + number, (num_groups + 1) * binning.num_bins)
        for number, share in enumerate(shares)
    ]
    return GroupSums(
        ops.reshape(sum(bins), [num_groups + 1, binning.num_bins])[:num_groups],
        ops.segment_sum(similarities, group, num_groups + 1)[:num_groups],
        ops.segment_sum(ops.cast(counted, "float32"), group, num_groups + 1)[:num_groups],
        log_scale[:num_groups],
    )
