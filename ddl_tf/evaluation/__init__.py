"""How good an embedding model is: protocols, metrics, plots."""

from ddl_tf.evaluation.embed import embed_images
from ddl_tf.evaluation.model import load_embedding_model
from ddl_tf.evaluation.pairs import evaluate_pairs, pair_similarities, verify
from ddl_tf.evaluation.plots import Similarities, verification_figure
from ddl_tf.evaluation.sets import VerificationSets, load_sets
from ddl_tf.evaluation.stored import StoredEvaluation
from ddl_tf.metrics import auc, best_threshold, eer, k_fold_accuracy, k_fold_tar, roc_curve, tar_at_far, usable_folds

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
