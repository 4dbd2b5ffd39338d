"""Faces as data: storage, groups and sampling, augmentation, the input pipeline.

The modules are imported when their names are first used.
"""

from ddl_tf.common.lazy import lazy_names

_MOVED = {
    "PairSet": "ddl_tf.protocols",
    "Problem": "ddl_tf.importers",
    "Sample": "ddl_tf.importers",
    "Source": "ddl_tf.importers",
    "SyntheticSettings": "ddl_tf.synthetic",
    "prepare_synthetic": "ddl_tf.synthetic",
    "read_bin": "ddl_tf.protocols",
    "read_cfp": "ddl_tf.protocols",
    "read_lfw": "ddl_tf.protocols",
    "read_stored": "ddl_tf.protocols",
    "render": "ddl_tf.synthetic",
}

__getattr__, __dir__, __all__ = lazy_names(__name__, __file__, _MOVED)
