"""The positive and negative similarities of the groups of a batch, in memory linear in rows and pairs.

Rows are sorted by group and identity, so that a group and, within it, an identity is a run of rows. All shapes depend
on the number of rows alone, so that XLA can compile what is built of this; loops run as often as the data asks for.
"""

import dataclasses
from typing import Optional, Union

import tensorflow as tf

from ddl_tf.common.unit_rows import unit_rows
from ddl_tf.losses.embedding_loss import bounded_groups, checked_rows

# Rows and columns of the tiles of the similarity matrix in which hardest negatives are looked for.
TILE_ROWS = 256
TILE_COLUMNS = 512

Number = Union[int, tf.Tensor]


def size_of(tensor: tf.Tensor) -> Number:
    """The number of rows of `[rows, ...]`: of Python where it is known, as static shapes need it."""
    return tf.shape(tensor)[0] if tensor.shape[0] is None else tensor.shape[0]


def block_of(size: Number, largest: int) -> Number:
    """The size of a block: 1 to `largest`, and not above `size`."""
    return max(1, min(size, largest)) if isinstance(size, int) else tf.clip_by_value(size, 1, largest)


@dataclasses.dataclass(frozen=True)
class SortedRows:
    """The rows of a batch, sorted by group and identity, those that take no part last; each field is `[rows]`."""

    embeddings: tf.Tensor  # `[rows, dim]` float32, of unit length
    group: tf.Tensor  # int32; -1 = takes no part
    run: tf.Tensor  # int32, a number for each identity within a group
    group_start: tf.Tensor  # int32, the first row of the row's group
    group_end: tf.Tensor  # int32, the row after the last one of the row's group; the start, if it takes no part
    run_end: tf.Tensor  # int32, the row after the last one of the row's group and identity
    has_negative: tf.Tensor  # bool, whether the row's group has another identity
    num_groups: Number


def sort_rows(
    embeddings: tf.Tensor, identity: tf.Tensor, group: tf.Tensor, num_groups: Optional[int] = None
) -> SortedRows:
    """Sort the rows of a batch by group and identity; `group_similarities` explains the arguments."""
    identity, embeddings = tf.cast(identity, tf.int64), unit_rows(embeddings)
    # Before the cast, which would wrap large ones.
    bound = bounded_groups(group) if num_groups is None else tf.clip_by_value(tf.cast(group, tf.int64), -1, num_groups)
    group = tf.cast(bound, tf.int32)
    groups: Number = tf.reduce_max(tf.concat([group, [0]], 0)) + 1 if num_groups is None else num_groups
    # For now those that take no part are one more group.
    group = tf.where(group >= 0, group, groups)
    order = tf.argsort(identity, stable=True)
    order = tf.gather(order, tf.argsort(tf.gather(group, order), stable=True))
    embeddings, identity, group = (tf.gather(tensor, order) for tensor in (embeddings, identity, group))

    ones = tf.ones_like(group)
    begins = (group[1:] != group[:-1]) | (identity[1:] != identity[:-1])
    run = tf.cumsum(tf.concat([tf.zeros_like(group[:1]), tf.cast(begins, tf.int32)], 0))
    run_sizes = tf.math.unsorted_segment_sum(ones, run, size_of(group))
    group_sizes = tf.math.unsorted_segment_sum(ones, group, groups + 1)
    takes_part = group < groups
    group_end = tf.gather(tf.cumsum(group_sizes), group)
    group_start = group_end - tf.gather(group_sizes, group)
    group_end = tf.where(takes_part, group_end, group_start)
    run_end, has_negative = tf.gather(tf.cumsum(run_sizes), run), group_end - group_start > tf.gather(run_sizes, run)
    group = tf.where(takes_part, group, -1)
    return SortedRows(embeddings, group, run, group_start, group_end, run_end, has_negative, groups)


def hardest_negatives(rows: SortedRows) -> tf.Tensor:
    """Find the most similar row of another identity in each row's group, or the row itself: `[rows]` int32."""
    embeddings = tf.stop_gradient(rows.embeddings)
    num_rows = size_of(embeddings)
    if isinstance(num_rows, int) and not num_rows:
        return tf.zeros([0], tf.int32)
    height, width = block_of(num_rows, TILE_ROWS), block_of(num_rows, TILE_COLUMNS)

    def search(block: tf.Tensor, hardest: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        # The last block begins early rather than to be smaller.
        number = tf.minimum(block, num_rows - height) + tf.range(height)
        block_embeddings, block_group, block_run = (tf.gather(x, number) for x in (embeddings, rows.group, rows.run))
        last = tf.gather(rows.group_end, number[-1])

        def compare(begin: tf.Tensor, largest: tf.Tensor, place: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            start = tf.minimum(begin, num_rows - width)
            columns = tf.slice(embeddings, [start, 0], [width, -1])
            group, run = (tf.slice(x, [start], [width]) for x in (rows.group, rows.run))
            negative = (block_group[:, tf.newaxis] == group) & (block_run[:, tf.newaxis] != run)
            # -2 is below every cosine.
            similarity = tf.where(negative, tf.matmul(block_embeddings, columns, transpose_b=True), -2.0)
            tile_largest = tf.reduce_max(similarity, axis=1)
            tile_place = start + tf.argmax(similarity, axis=1, output_type=tf.int32)
            better = tile_largest > largest
            return begin + width, tf.where(better, tile_largest, largest), tf.where(better, tile_place, place)

        start = (tf.gather(rows.group_start, number[0]), tf.fill([height], -2.0), number)
        _, _, place = tf.while_loop(lambda begin, *_: begin < last, compare, start, parallel_iterations=1)
        return block + height, tf.tensor_scatter_nd_update(hardest, number[:, tf.newaxis], place)

    every_row = tf.range(num_rows)
    _, hardest = tf.while_loop(lambda block, _: block < num_rows, search, (0, every_row), parallel_iterations=1)
    return tf.where(rows.has_negative, hardest, every_row)


@dataclasses.dataclass(frozen=True)
class Pairs:
    """The positive pairs of sorted rows, `count` in all: all pairs of one group and identity, numbered."""

    _ends: tf.Tensor
    _partners: tf.Tensor
    count: tf.Tensor

    @classmethod
    def of(cls, rows: SortedRows) -> "Pairs":
        """Count the pairs of sorted rows."""
        after = rows.run_end - tf.range(size_of(rows.group)) - 1
        partners = tf.where(rows.group >= 0, after, 0)
        return cls(tf.cumsum(partners), partners, tf.reduce_sum(partners))

    def rows(self, number: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """The first and the second row of the pairs `number` `[pairs]`, `[pairs]` int32 each."""
        first = tf.searchsorted(self._ends, number, side="right")
        second = first + 1 + number - (tf.gather(self._ends, first) - tf.gather(self._partners, first))
        return first, second


def pair_similarities(embeddings: tf.Tensor, first: tf.Tensor, second: tf.Tensor) -> tf.Tensor:
    """The similarities `[pairs]` of rows `first` and `second` `[pairs]` of unit embeddings `[rows, dim]`."""
    return tf.reduce_sum(tf.gather(embeddings, first) * tf.gather(embeddings, second), axis=1)


def above(similarities: tf.Tensor, threshold: float) -> tf.Tensor:
    """Which positive similarities count: those above the threshold, and NaN, so that it shows."""
    return ~(similarities <= threshold)


def group_similarities(
    embeddings: tf.Tensor,
    identity: tf.Tensor,
    group: tf.Tensor,
    positive_threshold: float = 0.0,
    num_groups: Optional[int] = None,
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Find the positive pairs and the hardest negatives within each group of a batch.

    Positives of a group are all unordered pairs of its rows with one identity. Negatives of a group are, for each of
    its rows, the largest similarity to a row of the group with another identity; a row without one drops out. Memory
    is linear in rows and pairs.

    Args:
        embeddings: `[batch, dim]`, of any length: they are normalised here, in float32.
        identity: `[batch]` int.
        group: `[batch]` int: 0 = teacher, 1..K = students; negative, or `num_groups` and above = takes no part.
        positive_threshold: positive pairs with a similarity at or below it are dropped.
        num_groups: number of groups; None: one more than the largest in the batch, and at least 1.

    Returns:
        Positives and negatives, each a ragged tensor `[num_groups, None]`.

    Raises:
        ValueError: for another number of identities or groups than of embeddings.
        ValueError, in a graph tf.errors.InvalidArgumentError: without `num_groups`, for a group beyond 1023.
    """
    both = tf.stack([tf.cast(identity, tf.int64), tf.cast(group, tf.int64)], axis=1)
    both, embeddings = checked_rows(both, embeddings)
    rows = sort_rows(embeddings, both[:, 0], both[:, 1], num_groups)
    pairs = Pairs.of(rows)
    first, second = pairs.rows(tf.range(pairs.count))
    similarity = pair_similarities(rows.embeddings, first, second)
    hardest = pair_similarities(rows.embeddings, tf.range(size_of(rows.group)), hardest_negatives(rows))

    def by_group(values: tf.Tensor, group: tf.Tensor, kept: tf.Tensor) -> tf.RaggedTensor:
        group, nrows = tf.cast(tf.boolean_mask(group, kept), tf.int64), tf.cast(rows.num_groups, tf.int64)
        return tf.RaggedTensor.from_value_rowids(tf.boolean_mask(values, kept), group, nrows, validate=False)

    positives = by_group(similarity, tf.gather(rows.group, first), above(similarity, positive_threshold))
    return positives, by_group(hardest, rows.group, rows.has_negative)
