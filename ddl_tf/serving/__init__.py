"""Embedding models for TensorFlow Serving."""

from ddl_tf.serving.export import GraphSize, describe_signatures, export_model, graph_size, read_description
from ddl_tf.serving.folding import Folded, fold_batch_norm
from ddl_tf.serving.served import serving_module
from ddl_tf.serving.threshold import Threshold, check_same_model, choose_threshold, threshold_at_far

__all__ = [
    "Folded",
    "GraphSize",
    "Threshold",
    "check_same_model",
    "choose_threshold",
    "describe_signatures",
    "export_model",
    "fold_batch_norm",
    "graph_size",
    "read_description",
    "serving_module",
    "threshold_at_far",
]
