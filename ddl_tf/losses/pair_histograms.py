"""The positive and negative similarities of a batch, added up by group without a list of all pairs."""

import tensorflow as tf

from ddl_tf.losses.pair_search import Pairs, SortedRows, above, block_of, hardest_negatives, pair_similarities, size_of
from ddl_tf.losses.soft_histogram import Binning, GroupSums, group_sums, log_scales

# So many pairs of rows are in memory at a time.
PAIRS_AT_A_TIME = 4096


def negative_sums(rows: SortedRows, binning: Binning) -> GroupSums:
    """Add up the hardest negative similarity of every row that has one."""
    similarities = pair_similarities(rows.embeddings, tf.range(size_of(rows.group)), hardest_negatives(rows))
    return group_sums(similarities, tf.where(rows.has_negative, rows.group, -1), rows.num_groups, binning)


def positive_sums(rows: SortedRows, threshold: float, binning: Binning) -> GroupSums:
    """Add up the similarities of all positive pairs above a threshold, block by block, in the gradient once more."""
    pairs, num_groups, num_rows = Pairs.of(rows), rows.num_groups, size_of(rows.group)
    step = block_of(num_rows, PAIRS_AT_A_TIME)

    def block(embeddings: tf.Tensor, begin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor, tf.Tensor]:
        """First rows, second rows, similarities and groups of a block's pairs; the group -1 is that of no pair."""
        number = begin + tf.range(step)
        first, second = pairs.rows(tf.minimum(number, pairs.count - 1))
        similarities = pair_similarities(embeddings, first, second)
        counted = (number < pairs.count) & above(similarities, threshold)
        return first, second, similarities, tf.where(counted, tf.gather(rows.group, first), -1)

    @tf.custom_gradient
    def sums(embeddings: tf.Tensor):  # noqa: ANN202 (what tf.custom_gradient asks for)
        def add(begin: tf.Tensor, bins: tf.Tensor, totals: tf.Tensor, counts: tf.Tensor, log_scale: tf.Tensor):  # noqa: ANN202
            _, _, similarities, group = block(embeddings, begin)
            largest = tf.maximum(log_scale, log_scales(similarities, group, num_groups, binning))
            added = group_sums(similarities, group, num_groups, binning, largest)
            bins = bins * tf.exp(log_scale - largest)[:, tf.newaxis] + added.bins
            return begin + step, bins, totals + added.totals, counts + added.counts, largest

        zeros = tf.zeros([num_groups])
        start = (0, tf.zeros([num_groups, binning.num_bins]), zeros, zeros, zeros + tf.float32.min)
        _, *total = tf.while_loop(lambda begin, *_: begin < pairs.count, add, start, parallel_iterations=1)
        log_scale = total[-1]

        def gradient(bins_gradient: tf.Tensor, totals_gradient: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            def add_gradient(begin: tf.Tensor, rows_gradient: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                first, second, similarities, group = block(embeddings, begin)
                with tf.GradientTape() as tape:
                    tape.watch(similarities)
                    added = group_sums(similarities, group, num_groups, binning, log_scale)
                slope = tape.gradient([added.bins, added.totals], similarities, [bins_gradient, totals_gradient])
                slopes = slope[:, tf.newaxis] * tf.gather(embeddings, tf.stack([second, first]))
                ends = tf.stack([first, second])
                return begin + step, rows_gradient + tf.math.unsorted_segment_sum(slopes, ends, num_rows)

            start = (0, tf.zeros_like(embeddings))
            return tf.while_loop(lambda begin, _: begin < pairs.count, add_gradient, start, parallel_iterations=1)[1]

        return total, gradient

    return GroupSums(*sums(rows.embeddings))
