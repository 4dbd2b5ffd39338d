"""Faces as data: storage, groups and sampling, augmentation, the input pipeline.

The modules are imported when their names are first used.
"""

from ddl_tf.common.lazy import lazy_names

_MOVED = {
    **dict.fromkeys(["Problem", "Sample", "Source"], "ddl_tf.importers"),
    **dict.fromkeys(["PairSet", "read_bin", "read_cfp", "read_lfw", "read_stored"], "ddl_tf.protocols"),
    **dict.fromkeys(["SyntheticSettings", "prepare_synthetic", "render"], "ddl_tf.synthetic"),
}

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, _MOVED)
