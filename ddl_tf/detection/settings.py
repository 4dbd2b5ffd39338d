"""The flags of every command that finds faces in photos."""

import dataclasses
from typing import TYPE_CHECKING

from ddl_tf.common.settings import setting
from ddl_tf.detection.photo_faces import FaceRules

if TYPE_CHECKING:
    from ddl_tf.detection.mtcnn import MTCNNDetector


@dataclasses.dataclass
class DetectionSettings:
    """How faces are found in photos, and which of them are usable."""

    least_score: float = setting(FaceRules.least_score, "How sure of a face the detector must be, 0 to 1.")
    least_face: float = setting(
        FaceRules.least_side, "The shorter side of the smallest usable face's box, in pixels of the photo."
    )
    photo_side: int = setting(
        FaceRules.photo_side,
        "Faces are looked for in the photo with this many pixels on its longer side, if it has more. Faces are cut out "
        "of the photo at its own size.",
    )
    smallest_face: float = setting(
        20.0,
        "The side of the smallest box that is looked for, in pixels at --photo_side, at least 12. Twice the side is "
        "nearly four times as fast.",
    )

    def detector(self) -> "MTCNNDetector":
        """Make the detector."""
        # Whoever finds no faces does not wait for TensorFlow.
        from ddl_tf.detection.mtcnn import MTCNNDetector

        return MTCNNDetector(self.smallest_face)

    def rules(self) -> FaceRules:
        """Say which faces are usable."""
        return FaceRules(self.least_score, self.least_face, self.photo_side)
