"""Faces found in photos: a detector's boxes and five points, and the aligned faces that follow from them.

`MTCNNDetector` needs the extra `[photos]`; any object with the two attributes of `Detector` can stand in.
"""

from ddl_tf.detection.detector import Detector, FoundFaces
from ddl_tf.detection.mtcnn import MTCNNDetector
from ddl_tf.detection.photo_faces import FaceRules, PhotoFace, landmark_face, photo_faces

__all__ = ["Detector", "FaceRules", "FoundFaces", "MTCNNDetector", "PhotoFace", "landmark_face", "photo_faces"]
