"""Distillation of the relations between identities: relational (RKD) and similarity-preserving (SP)."""

import abc
import math
from typing import Any

import tensorflow as tf

from ddl_tf.common.unit_rows import unit_rows
from ddl_tf.losses.embedding_loss import EmbeddingLoss, bounded_groups


def _smooth_l1(difference: tf.Tensor, points: tf.Tensor, least: int) -> tf.Tensor:
    """The mean Huber loss of slope 1; see `_mean_over_points`."""
    size = tf.abs(difference)
    return _mean_over_points(tf.where(size < 1.0, 0.5 * tf.square(difference), size - 0.5), points, least)


def _mean_over_points(values: tf.Tensor, points: tf.Tensor, least: int) -> tf.Tensor:
    """Mean of `[n, ..., n]` values that relate `[n, dim]` points; 0 if there are fewer points than `least`."""
    mean = tf.math.divide_no_nan(tf.reduce_sum(values), tf.cast(tf.size(values), tf.float32))
    return tf.where(tf.shape(points)[0] >= least, mean, 0.0)


def _differences(points: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """`[n, dim]` points -> `[n, n, dim]` differences and `[n, n]` distances, without gradient where they are 0."""
    difference = points[tf.newaxis, :, :] - points[:, tf.newaxis, :]
    squared = tf.reduce_sum(tf.square(difference), axis=2)
    coincide = squared <= 1e-12
    # The inner tf.where keeps the infinite slope of the root at 0 out of the gradient.
    return difference, tf.where(coincide, 0.0, tf.sqrt(tf.where(coincide, 1.0, squared)))


def rkd_distance(teacher: tf.Tensor, student: tf.Tensor) -> tf.Tensor:
    """Compare the distances between the teacher's points with those between the student's.

    On each side the distances are divided by their mean over all pairs of different points; the loss is the mean over
    all n^2 pairs of the smooth L1 of their differences (section 3.2.1 of the paper of `RKDLoss`).

    `teacher` `[n, dim]` and `student` `[n, student_dim]` are points of the same identities, row by row.

    Returns:
        `[]` float32; 0 for fewer than 2 points.

    Example:
        >>> points = tf.constant([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> float(rkd_distance(points, 3.0 * points)) < 1e-6
        True
    """

    def relative(points: tf.Tensor) -> tf.Tensor:
        _, distances = _differences(tf.cast(points, tf.float32))
        count = tf.cast(tf.size(distances) - tf.shape(distances)[0], tf.float32)
        mean = tf.math.divide_no_nan(tf.reduce_sum(distances), count)
        return tf.math.divide_no_nan(distances, mean)

    return _smooth_l1(relative(student) - relative(teacher), teacher, least=2)


def rkd_angle(teacher: tf.Tensor, student: tf.Tensor) -> tf.Tensor:
    """Compare the angles that the teacher's points form with those that the student's form.

    The angle at point i to the points j and k is taken as its cosine; the loss is the mean over all n^3 triples of
    the smooth L1 of the differences (section 3.2.2 of the paper of `RKDLoss`). A triple with a point that coincides
    with i has the cosine 0.

    `teacher` `[n, dim]` and `student` `[n, student_dim]` are points of the same identities, row by row.

    Returns:
        `[]` float32; 0 for fewer than 3 points.

    Example:
        >>> points = tf.constant([[0.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
        >>> float(rkd_angle(points, 3.0 * points)) < 1e-6
        True
    """

    def cosines(points: tf.Tensor) -> tf.Tensor:
        difference, distances = _differences(tf.cast(points, tf.float32))
        direction = tf.math.divide_no_nan(difference, distances[:, :, tf.newaxis])
        return tf.matmul(direction, direction, transpose_b=True)

    return _smooth_l1(cosines(student) - cosines(teacher), teacher, least=3)


def similarity_preserving(teacher: tf.Tensor, student: tf.Tensor) -> tf.Tensor:
    """Compare the similarity matrix of the teacher's points with that of the student's.

    The similarities are inner products; each row of the `[n, n]` matrix is scaled to length 1. The loss is the
    squared Frobenius norm of the difference, divided by n^2 (the paper of `SPLoss`).

    `teacher` `[n, dim]` and `student` `[n, student_dim]` are points of the same identities, row by row.

    Returns:
        `[]` float32; 0 for fewer than 2 points.

    Example:
        >>> points = tf.constant([[0.0, 2.0], [1.0, 1.0]])
        >>> float(similarity_preserving(points, 3.0 * points)) < 1e-6
        True
    """

    def similarities(points: tf.Tensor) -> tf.Tensor:
        points = tf.cast(points, tf.float32)
        return tf.math.l2_normalize(tf.matmul(points, points, transpose_b=True), axis=1)

    return _mean_over_points(tf.square(similarities(student) - similarities(teacher)), teacher, least=2)


class _RelationalLoss(EmbeddingLoss):
    """A loss on matched points of teacher and students; subclasses define `relation`."""

    _arguments: tuple[str, ...] = ("gather", "stop_teacher_gradient")

    def __init__(self, gather: bool, stop_teacher_gradient: bool, name: str, **kwargs: Any) -> None:
        super().__init__(gather=gather, name=name, **kwargs)
        self.stop_teacher_gradient = stop_teacher_gradient

    @abc.abstractmethod
    def relation(self, teacher: tf.Tensor, student: tf.Tensor) -> tf.Tensor:
        """Compute the loss of one student: `[n, dim]` matched points of each, n may be 0 -> `[]`."""

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the sum of the students' losses, `[]` float32."""
        means, present = identity_means(*self.global_batch(y_true, y_pred))
        teacher = tf.stop_gradient(means[0]) if self.stop_teacher_gradient else means[0]

        def of_student(student: tf.Tensor) -> tf.Tensor:
            common = present[0] & present[student]
            return self.relation(tf.boolean_mask(teacher, common), tf.boolean_mask(means[student], common))

        students = tf.range(1, tf.shape(means)[0])
        return tf.reduce_sum(tf.map_fn(of_student, students, fn_output_signature=tf.TensorSpec([], tf.float32)))


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class RKDLoss(_RelationalLoss):
    """Relational distillation: the identities of a student lie to each other as those of the teacher do.

    Teacher and student are the easy and the hard samples of one network. For each identity in both groups the mean of
    the normalised embeddings of its rows is taken on either side; `rkd_distance` and `rkd_angle` compare the two sets
    of points, and the students' losses are added up. Fewer than 2 common identities (3 for the angles) count 0.

    Args:
        distance_weight: weight of the distances, not negative, and finite.
        angle_weight: weight of the angles, not negative, and finite.
        gather: whether replicas pool their rows before identities are matched.
        stop_teacher_gradient: whether the teacher is a constant.

    Example:
        >>> rows = tf.constant([[0, 0], [1, 0], [2, 0], [0, 1], [1, 1], [2, 1]])
        >>> easy = tf.constant([[1.0, 0.0], [0.0, 1.0], [-1.0, 0.0]])
        >>> float(RKDLoss()(rows, tf.concat([easy, 3.0 * easy], 0))) < 1e-6
        True

    References:
        Park et al., "Relational Knowledge Distillation", CVPR 2019, https://arxiv.org/abs/1904.05068
    """

    _arguments = ("distance_weight", "angle_weight", "gather", "stop_teacher_gradient")

    def __init__(
        self,
        distance_weight: float = 25.0,
        angle_weight: float = 50.0,
        gather: bool = True,
        stop_teacher_gradient: bool = True,
        name: str = "rkd",
        **kwargs: Any,
    ) -> None:
        super().__init__(gather, stop_teacher_gradient, name, **kwargs)
        for argument, value in (("distance_weight", distance_weight), ("angle_weight", angle_weight)):
            if not 0 <= value < math.inf:
                raise ValueError(f"{argument} must be at least 0 and finite, got {value!r}")
        self.distance_weight, self.angle_weight = distance_weight, angle_weight

    def relation(self, teacher: tf.Tensor, student: tf.Tensor) -> tf.Tensor:
        """Return the weighted loss of one student, `[]`."""
        return self.distance_weight * rkd_distance(teacher, student) + self.angle_weight * rkd_angle(teacher, student)


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class SPLoss(_RelationalLoss):
    """Similarity-preserving distillation: identities are as similar in a student as they are in the teacher.

    Points and groups are those of `RKDLoss`; `similarity_preserving` compares the two sets of points. Fewer than 2
    common identities count 0.

    Args:
        gather: whether replicas pool their rows before identities are matched.
        stop_teacher_gradient: whether the teacher is a constant.

    Example:
        >>> rows = tf.constant([[0, 0], [1, 0], [0, 1], [1, 1]])
        >>> easy = tf.constant([[1.0, 0.0], [0.0, 1.0]])
        >>> float(SPLoss()(rows, tf.concat([easy, 3.0 * easy], 0))) < 1e-6
        True

    References:
        Tung and Mori, "Similarity-Preserving Knowledge Distillation", ICCV 2019, https://arxiv.org/abs/1907.09682
    """

    def __init__(
        self, gather: bool = True, stop_teacher_gradient: bool = True, name: str = "sp", **kwargs: Any
    ) -> None:
        super().__init__(gather, stop_teacher_gradient, name, **kwargs)

    def relation(self, teacher: tf.Tensor, student: tf.Tensor) -> tf.Tensor:
        """Return the loss of one student, `[]`."""
        return similarity_preserving(teacher, student)


def identity_means(embeddings: tf.Tensor, identity: tf.Tensor, group: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Means `[groups, identities, dim]` of normalised embeddings, and `[groups, identities]` bool: are there any."""
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
