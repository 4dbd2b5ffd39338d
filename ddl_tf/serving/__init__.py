"""Embedding models for TensorFlow Serving."""

from ddl_tf.serving.export import describe_signatures, export_model, serving_module

__all__ = ["describe_signatures", "export_model", "serving_module"]
