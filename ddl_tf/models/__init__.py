"""Backbones by name, the recognizer that is made of one, its checkpoints, and weights from InsightFace."""

from ddl_tf.models.backbones import BACKBONES, build_backbone
from ddl_tf.models.checkpoints import initialise_from, load_checkpoint, save_checkpoint
from ddl_tf.models.gradient_checkpointing import RecomputedModel
from ddl_tf.models.insightface import convert_insightface
from ddl_tf.models.onnx_network import convert_onnx
from ddl_tf.models.recognizer import HEADS, build_embedding_model, build_recognizer, embedding_model
from ddl_tf.models.torch_weights import read_state_dict

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
