"""Embedding models for TensorFlow Serving, onnxruntime and TensorFlow Lite, and the client of a server.

The modules are imported when their names are first used: the client needs no TensorFlow.
"""

from ddl_tf.lazy import lazy_names

_HOMES = {
    "Client": "client",
    "Folded": "folding",
    "GraphSize": "export",
    "OnnxEmbedder": "embedders",
    "ServingError": "serving_error",
    "TfliteEmbedder": "embedders",
    "Threshold": "threshold",
    "check_evaluated": "threshold",
    "check_same_model": "threshold",
    "choose_threshold": "threshold",
    "describe_signatures": "export",
    "export_model": "export",
    "fold_batch_norm": "folding",
    "graph_size": "export",
    "model_card": "card",
    "read_description": "export",
    "serving_module": "served",
    "threshold_at_far": "threshold",
    "warmup_requests": "warmup",
    "write_onnx": "onnx_file",
    "write_server_files": "server_files",
    "write_tflite": "tflite_file",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
