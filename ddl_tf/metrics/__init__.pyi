from .k_fold import best_threshold, k_fold_accuracy, k_fold_tar, usable_folds
from .roc import auc, eer, roc_curve, tar_at_far, threshold_at_far

__all__ = [
    "auc",
    "best_threshold",
    "eer",
    "k_fold_accuracy",
    "k_fold_tar",
    "roc_curve",
    "tar_at_far",
    "threshold_at_far",
    "usable_folds",
]
