"""Distribution Distillation Loss, its parts and metrics, and the margin softmax beside it."""

from ddl_tf.losses.ddl import DDLLoss
from ddl_tf.losses.distributions import DistributionTerms, distribution_distillation, similarity_distribution
from ddl_tf.losses.metrics import DDLTerm, DistributionOverlap, ExpectationMargin, MarginGap, ddl_metrics
from ddl_tf.losses.similarities import group_similarities
from ddl_tf.losses.softmax import LabelledAccuracy, MarginSoftmaxLoss

__all__ = [
    "DDLLoss",
    "DDLTerm",
    "DistributionOverlap",
    "DistributionTerms",
    "ExpectationMargin",
    "LabelledAccuracy",
    "MarginGap",
    "MarginSoftmaxLoss",
    "ddl_metrics",
    "distribution_distillation",
    "group_similarities",
    "similarity_distribution",
]
