"""Faces as data: storage, groups and sampling, augmentation, the input pipeline, the synthetic faces.

The modules are imported when their names are first used: drawing and importing faces needs no TensorFlow.
"""

from ddl_tf.lazy import lazy_names

_HOMES = {
    "AugmentationSettings": "augmentation_settings",
    "Faces": "store",
    "PairSet": "verification",
    "Problem": "source",
    "Sample": "sample",
    "Source": "source",
    "StoreSettings": "writer",
    "StoredPairs": "pools",
    "StreamSampler": "sampling",
    "StreamSizes": "sampling",
    "SyntheticSettings": "synthetic",
    "build_augmentation": "augmentation",
    "prepare_synthetic": "synthetic",
    "read_bin": "verification",
    "read_cfp": "verification",
    "read_lfw": "verification",
    "read_stored": "verification",
    "render": "synthetic",
    "training_dataset": "pipeline",
    "write_set": "writer",
}

__all__ = sorted(_HOMES)
__getattr__, __dir__ = lazy_names(__name__, _HOMES)
