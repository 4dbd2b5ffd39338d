"""Embedding models for TensorFlow Serving: the SavedModel, its decision threshold, and the files of its server.

The modules are imported when their names are first used.
"""

from ddl_tf.common.lazy import lazy_names

_MOVED = {
    "Client": "ddl_tf.client",
    "OnnxEmbedder": "ddl_tf.runtimes",
    "ServingError": "ddl_tf.client",
    "TfliteEmbedder": "ddl_tf.runtimes",
    "write_onnx": "ddl_tf.runtimes",
    "write_tflite": "ddl_tf.runtimes",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, _MOVED)
