"""The positive and negative similarities of the groups of a batch."""

import tensorflow as tf


def _by_group(values: tf.Tensor, group: tf.Tensor, num_groups: tf.Tensor) -> tf.RaggedTensor:
    """`[count]` values with their groups -> ragged `[num_groups, None]`."""
    order = tf.argsort(group, stable=True)
    return tf.RaggedTensor.from_value_rowids(
        tf.gather(values, order), tf.gather(group, order), nrows=tf.cast(num_groups, tf.int64), validate=False
    )


def group_similarities(
    embeddings: tf.Tensor, identity: tf.Tensor, group: tf.Tensor, positive_threshold: float = 0.0
) -> tuple[tf.RaggedTensor, tf.RaggedTensor]:
    """Find the positive pairs and the hardest negatives within each group of a batch.

    Positives of a group are all unordered pairs of its rows with one identity, outliers at or below the threshold
    dropped. Negatives of a group are, for each of its rows, the largest similarity to a row of the group with
    another identity; a row without one drops out.

    Args:
        embeddings: `[batch, dim]`, of any length: they are normalised here, in float32.
        identity: `[batch]` int.
        group: `[batch]` int: 0 = teacher, 1..K = students, negative = takes no part.
        positive_threshold: positive pairs with a similarity at or below it are dropped.

    Returns:
        Positives and negatives, each a ragged tensor `[groups, None]` with `groups` one more than the largest
        group in the batch, and at least 1.
    """
    group = tf.cast(group, tf.int64)
    identity = tf.cast(identity, tf.int64)
    embeddings = tf.math.l2_normalize(tf.cast(embeddings, tf.float32), axis=1)
    similarity = tf.matmul(embeddings, embeddings, transpose_b=True)
    num_groups = tf.maximum(tf.reduce_max(tf.concat([group, [0]], 0)) + 1, 1)

    same_group = (group[:, tf.newaxis] == group[tf.newaxis, :]) & (group >= 0)[:, tf.newaxis]
    same_identity = identity[:, tf.newaxis] == identity[tf.newaxis, :]
    rows = tf.range(tf.size(group))
    first_above = rows[:, tf.newaxis] < rows[tf.newaxis, :]

    pairs = tf.where(same_group & same_identity & first_above & (similarity > positive_threshold))
    positives = _by_group(tf.gather_nd(similarity, pairs), tf.gather(group, pairs[:, 0]), num_groups)

    negative = same_group & ~same_identity
    with_negative = tf.where(tf.reduce_any(negative, axis=1))[:, 0]
    # -2 is below every cosine, so that a masked entry is never the largest of a row that has a negative.
    hardest = tf.reduce_max(tf.where(negative, similarity, -2.0), axis=1)
    negatives = _by_group(tf.gather(hardest, with_negative), tf.gather(group, with_negative), num_groups)
    return positives, negatives
