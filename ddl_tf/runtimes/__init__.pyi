from . import onnx_conversion as onnx_conversion
from . import tfjs_conversion as tfjs_conversion
from .embedders import OnnxEmbedder, TfliteEmbedder
from .onnx import write_onnx
from .onnx_int8 import write_onnx_int8
from .openvino import write_openvino
from .openvino_embedder import OpenvinoEmbedder
from .quality import OnnxQuality
from .tflite import write_tflite

__all__ = [
    "OnnxEmbedder",
    "OnnxQuality",
    "OpenvinoEmbedder",
    "TfliteEmbedder",
    "write_onnx",
    "write_onnx_int8",
    "write_openvino",
    "write_tflite",
]
