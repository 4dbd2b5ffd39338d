"""The teacher's and a student's points of one identity, for losses that compare them point by point."""

from typing import Callable

import tensorflow as tf

from ddl_tf.common.unit_rows import unit_rows
from ddl_tf.losses.rows import bounded_groups


def identity_means(embeddings: tf.Tensor, identity: tf.Tensor, group: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Average the normalised embeddings of each identity in each group.

    Args:
        embeddings: `[batch, dim]`, of any length: they are normalised here, in float32.
        identity: `[batch]` int.
        group: `[batch]` int: 0 = teacher, 1..K = students, negative = takes no part.

    Returns:
        `[groups, identities, dim]` float32 means, not normalised again, and `[groups, identities]` bool, whether the
        group has rows of the identity. `groups` is one more than the largest group, and at least 2.
    """
    group, embeddings = bounded_groups(group), unit_rows(embeddings)
    identities, position = tf.unique(identity)
    num_identities = tf.size(identities)
    num_groups = tf.maximum(tf.reduce_max(tf.concat([group, [0]], 0)) + 1, 2)
    # A negative segment is dropped from the sums.
    segment = tf.where(group >= 0, group * num_identities + position, -1)
    size = num_groups * num_identities
    totals = tf.math.unsorted_segment_sum(embeddings, segment, size)
    counts = tf.math.unsorted_segment_sum(tf.ones_like(embeddings[:, 0]), segment, size)
    means = tf.math.divide_no_nan(totals, counts[:, tf.newaxis])
    means = tf.reshape(means, [num_groups, num_identities, tf.shape(embeddings)[1]])
    return means, tf.reshape(counts > 0, [num_groups, num_identities])


def sum_over_students(
    loss: Callable[[tf.Tensor, tf.Tensor], tf.Tensor],
    embeddings: tf.Tensor,
    identity: tf.Tensor,
    group: tf.Tensor,
    stop_teacher_gradient: bool,
) -> tf.Tensor:
    """Add up a loss on matched points over the students.

    An identity that is in group 0 and in a student's group gives one point on each side: the mean of the normalised
    embeddings of its rows there. A row of the teacher has no row of the student that belongs to it, and the groups
    may hold different numbers of rows of an identity; the mean is the one point that depends on neither number nor
    order of the rows, and the single samples' noise, which no student shall copy, averages out in it.

    Args:
        loss: `[n, dim]` points of the teacher, `[n, dim]` points of a student -> `[]`; n may be 0.
        embeddings: `[batch, dim]`, of any length.
        identity: `[batch]` int.
        group: `[batch]` int: 0 = teacher, 1..K = students, negative = takes no part.
        stop_teacher_gradient: whether the teacher's points are constants.

    Returns:
        `[]` float32.
    """
    means, present = identity_means(embeddings, identity, group)
    teacher = tf.stop_gradient(means[0]) if stop_teacher_gradient else means[0]

    def of_student(student: tf.Tensor) -> tf.Tensor:
        common = present[0] & present[student]
        return loss(tf.boolean_mask(teacher, common), tf.boolean_mask(means[student], common))

    students = tf.range(1, tf.shape(means)[0])
    return tf.reduce_sum(tf.map_fn(of_student, students, fn_output_signature=tf.TensorSpec([], tf.float32)))
