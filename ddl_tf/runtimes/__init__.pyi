from .embedders import OnnxEmbedder, TfliteEmbedder
from .onnx import write_onnx
from .tflite import write_tflite

__all__ = ["OnnxEmbedder", "TfliteEmbedder", "write_onnx", "write_tflite"]
