"""How good an embedding model is: protocols, metrics, plots."""

from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.k_fold import best_threshold, k_fold_accuracy, k_fold_tar, usable_folds
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.evaluation.pairs import evaluate_pairs, pair_similarities, verify
from ddl_tf.evaluation.plots import Similarities, verification_figure
from ddl_tf.evaluation.roc import auc, eer, roc_curve, tar_at_far
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.evaluation.stored import StoredEvaluation

__all__ = [
    "Similarities",
    "StoredEvaluation",
    "VerificationSets",
    "auc",
    "best_threshold",
    "eer",
    "embed_images",
    "evaluate_pairs",
    "k_fold_accuracy",
    "k_fold_tar",
    "load_embedding_model",
    "load_sets",
    "pair_similarities",
    "roc_curve",
    "tar_at_far",
    "usable_folds",
    "verification_figure",
    "verify",
]
