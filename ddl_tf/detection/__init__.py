"""Faces found in photos: a detector's boxes and five points, and the aligned faces that follow from them.

`MTCNNDetector` needs the extra `[photos]`; any object with the two attributes of `Detector` can stand in. Without it
TensorFlow is not imported, and without `DetectionSettings` no package of flags.
"""

from typing import TYPE_CHECKING

import lazy_loader

from ddl_tf.detection.detector import Detector, FoundFaces
from ddl_tf.detection.photo_faces import FaceRules, PhotoFace, landmark_face, photo_faces

if TYPE_CHECKING:
    from ddl_tf.detection.mtcnn import MTCNNDetector
    from ddl_tf.detection.settings import DetectionSettings

# Not a stub of all: it would give the module `photo_faces` where that was imported before the function.
_LATER = {"mtcnn": ["MTCNNDetector"], "settings": ["DetectionSettings"]}
__getattr__, _, _ = lazy_loader.attach(__name__, submod_attrs=_LATER)

__all__ = [
    "DetectionSettings",
    "Detector",
    "FaceRules",
    "FoundFaces",
    "MTCNNDetector",
    "PhotoFace",
    "landmark_face",
    "photo_faces",
]
