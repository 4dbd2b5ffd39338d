"""What is easy and what is hard: rules, measured quality, a model's view, degradation, positive pairs, near identities.

The modules are imported when their names are first used: rules need no TensorFlow.
"""

from ddl_tf.lazy import lazy_names

_HOMES = {
    "Degradation": "degradation",
    "GroupRules": "groups",
    "PairRules": "pairs",
    "Rule": "rules",
    "Viewer": "view",
    "assign_groups": "groups",
    "contact_sheet": "sheets",
    "degraded_source": "degradation",
    "distribution_figure": "sheets",
    "measure_faces": "measuring",
    "measure_quality": "quality",
    "mine_pairs": "pairs",
    "nearest_identities": "neighbours",
    "parse_degradation": "degradation",
    "pose_from_landmarks": "pose",
    "read_pairs": "pairs",
    "write_columns": "columns",
    "write_pairs": "pairs",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
