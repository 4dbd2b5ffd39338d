"""Embedding models for TensorFlow Serving, onnxruntime and TensorFlow Lite."""

from ddl_tf.serving.embedders import OnnxEmbedder, TfliteEmbedder
from ddl_tf.serving.export import describe_signatures, export_model, serving_module
from ddl_tf.serving.onnx_file import write_onnx
from ddl_tf.serving.tflite_file import write_tflite

__all__ = [
    "OnnxEmbedder",
    "TfliteEmbedder",
    "describe_signatures",
    "export_model",
    "serving_module",
    "write_onnx",
    "write_tflite",
]
