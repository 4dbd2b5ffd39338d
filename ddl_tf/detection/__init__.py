"""Faces found in photos: a detector's boxes and five points, and the aligned faces that follow from them.

`MTCNNDetector` needs the extra `[photos]`; any object with the two attributes of `Detector` can stand in, and without
it TensorFlow is not imported.
"""

from typing import TYPE_CHECKING

import lazy_loader

from ddl_tf.detection.detector import Detector, FoundFaces
from ddl_tf.detection.photo_faces import FaceRules, PhotoFace, landmark_face, photo_faces
from ddl_tf.detection.settings import DetectionSettings

if TYPE_CHECKING:
    from ddl_tf.detection.mtcnn import MTCNNDetector

# Alone: a stub of all would give the module `photo_faces` where it was imported before the function.
__getattr__, _, _ = lazy_loader.attach(__name__, submod_attrs={"mtcnn": ["MTCNNDetector"]})

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
