"""The faces of a photo: found, judged, and cut out aligned, at the best resolution that the photo has."""

import dataclasses
import math
from collections.abc import Iterator

import numpy as np

from ddl_tf.common.errors import InputError
from ddl_tf.detection.detector import Detector, FoundFaces
from ddl_tf.detection.photo import Photo, decode_photo, shrink_photo
from ddl_tf.images.alignment import cut_face
from ddl_tf.images.landmarks import landmark_problem
from ddl_tf.images.pose import eye_distance_px, pose_from_landmarks
from ddl_tf.images.template import ARCFACE_TEMPLATE, TEMPLATE_SIZE, similarity_transform


@dataclasses.dataclass(frozen=True)
class FaceRules:
    """Which faces of a photo are usable.

    Attributes:
        least_score: how sure the detector must be, 0 to 1.
        least_side: the shorter side of the box in pixels of the photo, below which a face is too small.
        photo_side: faces are searched in the photo with this many pixels on its longer side, if it has more.
    """

    least_score: float = 0.9
    least_side: float = 32
    photo_side: int = 1600

    def __post_init__(self) -> None:
        if not 0 <= self.least_score <= 1:
            raise InputError(f"the least score of a face must be between 0 and 1, got {self.least_score}")
        if not self.least_side >= 0:
            raise InputError(f"the least side of a face must be 0 pixels or more, got {self.least_side}")
        if self.photo_side < TEMPLATE_SIZE:
            raise InputError(f"photos are searched at {TEMPLATE_SIZE} pixels or more, got {self.photo_side}")


@dataclasses.dataclass(frozen=True)
class PhotoFace:
    """A face of a photo.

    Attributes:
        box: `[4]` left, top, right, bottom, in pixels of the upright photo.
        landmarks: `[5, 2]` x, y, in the same; the order is that of `FoundFaces`.
        score: how sure the detector is, 0 to 1.
        crop: uint8 `[112, 112, 3]`, or of the side that was asked for: the face aligned to ArcFace's template.
        refused: why it is not usable; "" if it is.
        central: how far the middle of the box is from that of the photo, in shares of the photo's diagonal.
    """

    box: np.ndarray
    landmarks: np.ndarray
    score: float
    crop: np.ndarray
    refused: str
    central: float

    @property
    def side(self) -> float:
        """The shorter side of the box in pixels of the photo."""
        return float(np.min(self.box[2:] - self.box[:2]))

    @property
    def eye_distance_px(self) -> float:
        """The distance between the eyes in pixels of the photo: the native resolution of the face."""
        return float(eye_distance_px(self.landmarks[None])[0])

    @property
    def pose(self) -> tuple[float, float, float]:
        """Yaw, pitch and roll in degrees; see `ddl_tf.images.pose`."""
        pose = pose_from_landmarks(self.landmarks[None])
        return float(pose.yaw[0]), float(pose.pitch[0]), float(pose.roll[0])


def photo_faces(
    encoded: bytes, detector: Detector, rules: FaceRules = FaceRules(), size: int = TEMPLATE_SIZE
) -> list[PhotoFace]:
    """Find the faces of an encoded photo, and cut each out aligned.

    The photo is decoded at the size that the search needs, and once more, larger, where a face has more pixels than
    that shows. The landmarks and boxes are those of the upright photo at its own size.

    Args:
        encoded: the file: JPEG (a phone's MPO too), PNG, or whatever else Pillow reads.
        detector: finds the faces.
        rules: which of them are usable.
        size: the side of the crops in pixels.

    Returns:
        All faces, the surest first; those that the rules leave out say why in `refused`.

    Raises:
        ValueError: if the photo cannot be decoded; the message says why.

    Example:
        >>> faces = photo_faces(encoded, MTCNNDetector())  # doctest: +SKIP
        >>> [face.crop for face in faces if not face.refused]  # doctest: +SKIP
    """
    photo = decode_photo(encoded, rules.photo_side)
    searched = shrink_photo(photo, rules.photo_side)
    found = detector.find(np.asarray(searched.image))
    _check(found, detector.name)
    order = np.argsort(-np.asarray(found.scores), kind="stable")
    boxes, landmarks = (_scaled(np.asarray(values)[order], searched.scale) for values in found[:2])
    scaled = FoundFaces(boxes, landmarks, np.asarray(found.scores)[order])
    return _cut_faces(encoded, photo, scaled, rules, size)


def landmark_face(encoded: bytes, landmarks: np.ndarray, rules: FaceRules = FaceRules()) -> PhotoFace:
    """Cut the face out of an encoded photo that landmarks `[5, 2]` of the upright photo tell; see `photo_faces`.

    Its box is the square around what the aligned face shows, and its score NaN. A ValueError says why the photo cannot
    be decoded.
    """
    photo = decode_photo(encoded, rules.photo_side)
    scale = _template_scale(landmarks)
    box = np.full(4, np.nan)
    if scale:
        inverse = np.linalg.inv(np.vstack([similarity_transform(landmarks, ARCFACE_TEMPLATE), [0, 0, 1]]))
        middle, half = (inverse @ [TEMPLATE_SIZE / 2, TEMPLATE_SIZE / 2, 1])[:2], TEMPLATE_SIZE / 2 / scale
        box = np.concatenate([middle - half, middle + half])
    found = FoundFaces(box[None], np.asarray(landmarks)[None], np.array([np.nan]))
    return _cut_faces(encoded, photo, found, rules, TEMPLATE_SIZE)[0]


def _cut_faces(encoded: bytes, photo: Photo, found: FoundFaces, rules: FaceRules, side: int) -> list[PhotoFace]:
    """Judge and cut out the faces that were found in the pixels of the file."""
    size = photo.image.width * photo.scale, photo.image.height * photo.scale
    needed = max((_template_scale(points / photo.scale, side) for points in found.landmarks), default=0)
    # A face that alignment would enlarge may have more pixels in the file.
    if photo.scale > 1 and needed > 1:
        photo = decode_photo(encoded, math.ceil(needed * max(photo.image.size)))
    return list(_faces(photo, found, size, rules, side))


def _template_scale(points: np.ndarray, side: int = TEMPLATE_SIZE) -> float:
    """How many pixels of an aligned face a pixel at the points becomes; 0 where they are no face's."""
    if not np.isfinite(points).all() or not np.ptp(points, axis=0).any():
        return 0.0
    return float(np.linalg.norm(similarity_transform(points, ARCFACE_TEMPLATE)[:, 0])) * (side / TEMPLATE_SIZE)


def _scaled(places: np.ndarray, factor: float) -> np.ndarray:
    """Places in an image of `factor` times the size; (0, 0) is the centre of the first pixel."""
    return (places + 0.5) * factor - 0.5


def _check(found: FoundFaces, name: str) -> None:
    """Refuse what no detector of five points gives: a detector of the user's own may have another form."""
    count = len(found.scores)
    if np.shape(found.boxes) != (count, 4) or np.shape(found.landmarks) != (count, 5, 2):
        raise InputError(
            f"the detector {name!r} gave boxes {list(np.shape(found.boxes))} and landmarks "
            f"{list(np.shape(found.landmarks))} for {count} scores: give [n, 4], [n, 5, 2] and [n]"
        )


def _faces(
    photo: Photo, found: FoundFaces, size: tuple[float, float], rules: FaceRules, side: int
) -> Iterator[PhotoFace]:
    for box, points, score in zip(found.boxes, found.landmarks, found.scores.tolist()):
        away = np.linalg.norm((box[:2] + box[2:]) / 2 - np.asarray(size) / 2) / np.linalg.norm(size)
        refused = _why_refused(box, points, score, (round(size[0]), round(size[1])), rules)
        yield PhotoFace(box, points, score, _crop(photo, points, side), refused, float(away))


def _why_refused(box: np.ndarray, points: np.ndarray, score: float, size: tuple[int, int], rules: FaceRules) -> str:
    side = float(np.min(box[2:] - box[:2]))
    # A face that somebody else found has no score.
    if score < rules.least_score:
        return f"unsure: score {score:.2f}, where {rules.least_score:g} is needed"
    if not side >= rules.least_side:
        return f"too small: {side:.0f} px, where {rules.least_side:g} are needed"
    try:
        return landmark_problem(points, size) or ""
    except InputError as error:
        return str(error)


def _crop(photo: Photo, points: np.ndarray, side: int) -> np.ndarray:
    """The aligned face; a large one is averaged to less than twice the size first, as alignment takes single pixels."""
    image, points = photo.image, _scaled(points, 1 / photo.scale)
    scale = _template_scale(points, side)
    # All that the aligned face shows; black where that is none of the photo.
    reach = 2 * np.ptp(points, axis=0).max() if scale else np.nan
    left, top = np.maximum(np.floor(points.min(0) - reach), 0)
    right, bottom = np.minimum(np.ceil(points.max(0) + reach) + 1, image.size)
    if not (left < right and top < bottom):
        return np.zeros([side, side, 3], np.uint8)
    image, points = image.crop((int(left), int(top), int(right), int(bottom))), points - [left, top]
    if (factor := int(1 / scale)) > 1:
        image, points = image.reduce(factor), _scaled(points, 1 / factor)
    return cut_face(image, points, side)
