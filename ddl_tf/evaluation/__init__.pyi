from . import embed as embed
from . import model as model
from . import plots as plots
from .embed import embed_images
from .model import load_embedding_model
from .pairs import evaluate_pairs, pair_similarities, verify
from .plots import Similarities, verification_figure
from .sets import VerificationSets, load_sets
from .stored import StoredEvaluation

__all__ = [
    "Similarities",
    "StoredEvaluation",
    "VerificationSets",
    "embed_images",
    "evaluate_pairs",
    "load_embedding_model",
    "load_sets",
    "pair_similarities",
    "verification_figure",
    "verify",
]
