"""Triplet loss with semi-hard negatives, from TensorFlow Addons."""

import math
from typing import Any

import tensorflow as tf

from ddl_tf.common.tensorflow_addons_import import import_tensorflow_addons
from ddl_tf.common.unit_rows import unit_rows
from ddl_tf.losses.embedding_loss import EmbeddingLoss


@tf.keras.utils.register_keras_serializable(package="ddl_tf")
class TripletLoss(EmbeddingLoss):
    """Keep every positive pair of the batch closer, by a margin, than a semi-hard negative.

    For every ordered pair of rows of one identity (anchor, positive) the negative is the closest row of another
    identity that is farther from the anchor than the positive is; where there is none, the farthest of all. The loss
    is the mean of max(0, d(anchor, positive) - d(anchor, negative) + margin) over all these pairs, with d the squared
    Euclidean distance of the normalised embeddings, 2 - 2 cosine; 0 without a triplet. The groups of the rows do not
    matter. It is `tfa.losses.triplet_semihard_loss`, which takes memory for rows^3 numbers.

    Args:
        margin: above 0, in units of squared distance, which is at most 4; FaceNet's is 0.2.
        gather: whether replicas pool their rows before triplets are made.

    Raises:
        ddl_tf.common.errors.InputError: if TensorFlow Addons cannot be imported.

    Example:
        >>> rows = tf.constant([[0, 0], [0, 1], [1, 0], [1, 1]])
        >>> embeddings = tf.constant([[1.0, 0.0], [1.0, 0.1], [-1.0, 0.0], [-1.0, 0.1]])
        >>> float(TripletLoss()(rows, embeddings))
        0.0

    References:
        Schroff et al., "FaceNet: A Unified Embedding for Face Recognition and Clustering", CVPR 2015,
        https://arxiv.org/abs/1503.03832
    """

    _arguments = ("margin", "gather")

    def __init__(self, margin: float = 0.2, gather: bool = True, name: str = "triplet", **kwargs: Any) -> None:
        super().__init__(gather=gather, name=name, **kwargs)
        if not 0 < margin < math.inf:
            raise ValueError(f"margin must be above 0 and finite, got {margin!r}")
        import_tensorflow_addons()  # Now rather than in the first step of training.
        self.margin = margin

    def call(self, y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        """Return the loss, `[]` float32."""
        embeddings, identity, _ = self.global_batch(y_true, y_pred)
        num_identities = tf.size(tf.unique(identity).y)
        has_triplet = (num_identities > 1) & (num_identities < tf.size(identity))

        def triplets() -> tf.Tensor:
            return import_tensorflow_addons().losses.triplet_semihard_loss(
                identity, unit_rows(embeddings), margin=self.margin, distance_metric="squared-L2"
            )

        # The branch not taken has no gradient; tf.where would multiply TensorFlow Addons' NaN by 0.
        return tf.cond(has_triplet, triplets, lambda: 0.0 * tf.reduce_sum(embeddings))
