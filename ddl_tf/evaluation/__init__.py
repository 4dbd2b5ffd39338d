"""How good an embedding model is: protocols, metrics, plots.

The modules are imported when their names are first used.
"""

from ddl_tf.common.lazy import lazy_names

_MOVED = dict.fromkeys(
    (
        "auc",
        "best_threshold",
        "eer",
        "k_fold_accuracy",
        "k_fold_tar",
        "roc_curve",
        "tar_at_far",
        "usable_folds",
    ),
    "ddl_tf.metrics",
)

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, _MOVED)
