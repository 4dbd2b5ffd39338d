from .embedders import OnnxEmbedder, TfliteEmbedder
from .writers import write_onnx, write_tflite

__all__ = ["OnnxEmbedder", "TfliteEmbedder", "write_onnx", "write_tflite"]
