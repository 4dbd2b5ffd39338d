"""Distribution Distillation Loss, its parts and metrics, the margin softmax, and the losses it is compared with."""

from ddl_tf.losses.ddl import DDLLoss
from ddl_tf.losses.distributions import DistributionTerms, distribution_distillation, similarity_distribution
from ddl_tf.losses.embedding_loss import EmbeddingLoss
from ddl_tf.losses.histogram import HistogramLoss, probability_of_reverse
from ddl_tf.losses.margin_softmax import FocalLoss, LabelledAccuracy, LabelledRowsLoss, MarginSoftmaxLoss, OHEMLoss
from ddl_tf.losses.metrics import DDLTerm, DistributionOverlap, ExpectationMargin, MarginGap, ddl_metrics
from ddl_tf.losses.pair_search import group_similarities
from ddl_tf.losses.relational import RKDLoss, SPLoss, rkd_angle, rkd_distance, similarity_preserving
from ddl_tf.losses.triplet import TripletLoss

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
