from . import integrity as integrity
from . import mending as mending
from .augmentation import build_augmentation
from .pipeline import training_dataset
from .pools import StoredPairs, StreamSizes
from .sampling import StreamSampler
from .settings import AugmentationSettings
from .store import Faces
from .writer import StoreSettings, write_set

__all__ = [
    "AugmentationSettings",
    "Faces",
    "StoreSettings",
    "StoredPairs",
    "StreamSampler",
    "StreamSizes",
    "build_augmentation",
    "training_dataset",
    "write_set",
]
