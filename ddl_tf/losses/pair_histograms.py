"""The positive and negative similarities of a batch, added up by group without a list of all pairs."""

import tensorflow as tf

from ddl_tf.losses.pair_search import (
    Pairs,
    SortedRows,
    above,
    block_of,
    hardest_negatives,
    pair_similarities,
    size_of,
)
from ddl_tf.losses.soft_histogram import Binning, Tally, levels, tally

# So many pairs of rows are in memory at a time.
PAIRS_AT_A_TIME = 4096


def tally_of(similarities: tf.Tensor, group: tf.Tensor, num_groups: tf.Tensor, binning: Binning) -> Tally:
    """Add up similarities that are all there.

    Args:
        similarities: `[count]` float32.
        group: `[count]` int32, -1 = takes no part.
        num_groups: how many groups.
        binning: how distributions are estimated.

    Returns:
        The tally.
    """
    return tally(similarities, group, num_groups, levels(similarities, group, num_groups, binning), binning)


def tally_negatives(rows: SortedRows, binning: Binning) -> Tally:
    """Add up the hardest negative similarity of every row that has one.

    Args:
        rows: sorted.
        binning: how distributions are estimated.

    Returns:
        The tally.
    """
    similarities = pair_similarities(rows.embeddings, tf.range(size_of(rows.group)), hardest_negatives(rows))
    return tally_of(similarities, tf.where(rows.has_negative, rows.group, -1), rows.num_groups, binning)


def tally_positives(rows: SortedRows, threshold: float, binning: Binning) -> Tally:
    """Add up the similarities of all positive pairs above a threshold, some pairs at a time, forward and backward.

    Args:
        rows: sorted.
        threshold: pairs with a similarity at or below it are dropped.
        binning: how distributions are estimated.

    Returns:
        The tally.
    """
    pairs, num_groups, num_rows = Pairs.of(rows), rows.num_groups, size_of(rows.group)
    step = block_of(num_rows, PAIRS_AT_A_TIME)

    def some(begin: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        number = begin + tf.range(step)
        exists = number < pairs.count
        first, second = pairs.rows(tf.minimum(number, pairs.count - 1))
        return first, second, tf.where(exists, tf.gather(rows.group, first), -1)

    def counted(similarities: tf.Tensor, group: tf.Tensor) -> tf.Tensor:
        return tf.where(above(similarities, threshold), group, -1)

    @tf.custom_gradient
    def total(embeddings: tf.Tensor):  # noqa: ANN202 (what tf.custom_gradient asks for)
        def add(begin: tf.Tensor, bins: tf.Tensor, totals: tf.Tensor, counts: tf.Tensor, level: tf.Tensor):  # noqa: ANN202
            first, second, group = some(begin)
            similarities = pair_similarities(embeddings, first, second)
            group = counted(similarities, group)
            higher = tf.maximum(level, levels(similarities, group, num_groups, binning))
            new = tally(similarities, group, num_groups, higher, binning)
            bins = bins * tf.exp(level - higher)[:, tf.newaxis] + new.bins
            return begin + step, bins, totals + new.totals, counts + new.counts, higher

        zeros = tf.zeros([num_groups])
        start = (0, tf.zeros([num_groups, binning.num_bins]), zeros, zeros, zeros + tf.float32.min)
        done = tf.while_loop(lambda begin, *_: begin < pairs.count, add, start, parallel_iterations=1)
        level = done[-1]

        def gradient(bins_gradient: tf.Tensor, totals_gradient: tf.Tensor, *_: tf.Tensor) -> tf.Tensor:
            def add_gradient(begin: tf.Tensor, so_far: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                first, second, group = some(begin)
                one, other = tf.gather(embeddings, first), tf.gather(embeddings, second)
                similarities = tf.reduce_sum(one * other, axis=1)
                with tf.GradientTape() as tape:
                    tape.watch(similarities)
                    new = tally(similarities, counted(similarities, group), num_groups, level, binning)
                slope = tape.gradient([new.bins, new.totals], similarities, [bins_gradient, totals_gradient])
                slopes = slope[:, tf.newaxis] * tf.concat([[other], [one]], 0)
                ends = tf.stack([first, second])
                return begin + step, so_far + tf.math.unsorted_segment_sum(slopes, ends, num_rows)

            start = (0, tf.zeros_like(embeddings))
            return tf.while_loop(lambda begin, _: begin < pairs.count, add_gradient, start, parallel_iterations=1)[1]

        return done[1:], gradient

    return Tally(*total(rows.embeddings))
