"""Embedding models for TensorFlow Serving: the SavedModel, its decision threshold, and the files of its server."""

from ddl_tf.common.lazy import lazy_names

_MOVED = dict.fromkeys(("Client", "ServingError"), "ddl_tf.client")
_MOVED |= dict.fromkeys(("OnnxEmbedder", "TfliteEmbedder", "write_onnx", "write_tflite"), "ddl_tf.runtimes")
_MOVED["threshold_at_far"] = "ddl_tf.metrics"

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, _MOVED)
