"""Faces as data: storage, groups and sampling, augmentation, the input pipeline, the synthetic faces.

The modules are imported when their names are first used: drawing and importing faces needs no TensorFlow.
"""

import importlib
from typing import Any

_HOMES = {
    "AugmentationSettings": "augmentation_settings",
    "Faces": "store",
    "PairSet": "verification",
    "Problem": "source",
    "Sample": "sample",
    "Source": "source",
    "StoreSettings": "writer",
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


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
