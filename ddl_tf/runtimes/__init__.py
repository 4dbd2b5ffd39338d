"""Embedding models as files for other runtimes, ONNX, OpenVINO and TensorFlow Lite, and what embeds by them.

The modules are imported when their names are first used.
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
