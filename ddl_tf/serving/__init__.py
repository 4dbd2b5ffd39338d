"""Embedding models for TensorFlow Serving, and the client of a server.

The modules are imported when their names are first used: the client needs no TensorFlow.
"""

from ddl_tf.lazy import lazy_names

_HOMES = {
    "Client": "client",
    "ServingError": "serving_error",
    "describe_signatures": "export",
    "export_model": "export",
    "serving_module": "export",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
