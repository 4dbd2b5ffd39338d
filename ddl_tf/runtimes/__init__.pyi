from . import onnx_conversion as onnx_conversion
from . import tfjs_conversion as tfjs_conversion
from .embedders import OnnxEmbedder, TfliteEmbedder
from .onnx import write_onnx
from .quality import OnnxQuality
from .tflite import write_tflite

__all__ = ["OnnxEmbedder", "OnnxQuality", "TfliteEmbedder", "write_onnx", "write_tflite"]
