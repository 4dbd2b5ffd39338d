from . import check as check
from . import conversion as conversion
from . import formats as formats
from .card import model_card
from .description import read_description
from .export import GraphSize, describe_signatures, export_model, graph_size
from .folding import Folded, fold_batch_norm
from .served import serving_module
from .server_files import warmup_requests, write_server_files
from .threshold import Threshold, check_evaluated, check_same_model, choose_threshold

__all__ = [
    "Folded",
    "GraphSize",
    "Threshold",
    "check_evaluated",
    "check_same_model",
    "choose_threshold",
    "describe_signatures",
    "export_model",
    "fold_batch_norm",
    "graph_size",
    "model_card",
    "read_description",
    "serving_module",
    "warmup_requests",
    "write_server_files",
]
