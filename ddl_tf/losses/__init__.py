"""Distribution Distillation Loss, its parts and metrics, the margin softmax, and the losses it is compared with."""

from typing import TYPE_CHECKING

from ddl_tf.common.keras_version import BACKEND, refuse_names

__all__ = [
    "DDLLoss",
    "DDLTerm",
    "DistributionOverlap",
    "DistributionTerms",
    "EmbeddingLoss",
    "ExpectationMargin",
    "FocalLoss",
    "HistogramLoss",
    "LabelledAccuracy",
    "LabelledRowsLoss",
    "MarginGap",
    "MarginSoftmaxLoss",
    "OHEMLoss",
    "RKDLoss",
    "SPLoss",
    "TripletLoss",
    "ddl_metrics",
    "distribution_distillation",
    "group_similarities",
    "probability_of_reverse",
    "rkd_angle",
    "rkd_distance",
    "similarity_distribution",
    "similarity_preserving",
]

if TYPE_CHECKING or BACKEND == "tensorflow":
    from ddl_tf.losses.ddl import DDLLoss
    from ddl_tf.losses.distributions import DistributionTerms, distribution_distillation, similarity_distribution
    from ddl_tf.losses.embedding_loss import EmbeddingLoss
    from ddl_tf.losses.histogram import HistogramLoss, probability_of_reverse
    from ddl_tf.losses.margin_softmax import FocalLoss, LabelledAccuracy, LabelledRowsLoss, MarginSoftmaxLoss, OHEMLoss
    from ddl_tf.losses.metrics import DDLTerm, DistributionOverlap, ExpectationMargin, MarginGap, ddl_metrics
    from ddl_tf.losses.pair_search import group_similarities
    from ddl_tf.losses.relational import RKDLoss, SPLoss, rkd_angle, rkd_distance, similarity_preserving
    from ddl_tf.losses.triplet import TripletLoss
else:
    # The same classes in `keras.ops`, which take the place of those of TensorFlow in saved models too.
    from ddl_tf.losses.distributions import DistributionTerms
    from ddl_tf.losses.ops_ddl import DDLLoss
    from ddl_tf.losses.ops_margin_softmax import FocalLoss, LabelledRowsLoss, MarginSoftmaxLoss, OHEMLoss

    __getattr__ = refuse_names(__name__, set(__all__))
