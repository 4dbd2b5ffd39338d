from . import checkpoints as checkpoints
from . import recognizer as recognizer
from .backbones import BACKBONES, build_backbone
from .checkpoints import initialise_from, load_checkpoint, save_checkpoint
from .gradient_checkpointing import RecomputedModel
from .insightface import convert_insightface
from .onnx_network import convert_onnx
from .recognizer import HEADS, build_embedding_model, build_recognizer, embedding_model
from .torch_weights import read_state_dict

__all__ = [
    "BACKBONES",
    "HEADS",
    "RecomputedModel",
    "build_backbone",
    "build_embedding_model",
    "build_recognizer",
    "convert_insightface",
    "convert_onnx",
    "embedding_model",
    "initialise_from",
    "load_checkpoint",
    "read_state_dict",
    "save_checkpoint",
]
