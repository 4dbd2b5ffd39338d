"""The settings of detection become a detector and rules."""

import subprocess
import sys

import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.detection import DetectionSettings, FaceRules


def test_settings_are_those_of_rules_and_detector():
    assert DetectionSettings().rules() == FaceRules()
    settings = DetectionSettings(least_score=0.8, least_face=50, photo_side=800, smallest_face=30)
    assert settings.rules() == FaceRules(0.8, 50, 800)
    with pytest.raises(InputError, match="the least score of a face must be between 0 and 1, got 2"):
        DetectionSettings(least_score=2).rules()


def test_the_detector_of_the_settings():
    pytest.importorskip("mtcnn", reason="the extra [photos] is not installed")
    assert DetectionSettings(smallest_face=30).detector().name == "mtcnn 1.0.0, smallest face 30 px"


def test_tensorflow_comes_with_mtcnn_alone_and_flags_with_settings():
    """Also the function's name is the function, whatever was imported before: its module has the same name."""
    lines = [
        "import sys, ddl_tf.detection.photo_faces",
        "from ddl_tf.detection import photo_faces",
        "assert callable(photo_faces) and not {'tensorflow', 'absl'} & set(sys.modules)",
        "from ddl_tf.detection import DetectionSettings",
        "assert 'tensorflow' not in sys.modules",
        "from ddl_tf.detection import MTCNNDetector",
        "assert 'tensorflow' in sys.modules",
    ]
    subprocess.run([sys.executable, "-c", "; ".join(lines)], check=True)
