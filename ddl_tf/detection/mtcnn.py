"""MTCNN: three small networks in a cascade, with the weights that the PyPI package `mtcnn` ships."""

import importlib.metadata
import importlib.resources
from collections.abc import Callable, Sequence
from types import ModuleType

import numpy as np
import tensorflow as tf

from ddl_tf.common.errors import InputError
from ddl_tf.detection.detector import FoundFaces

VERSION = "1.0.0"
# The sides of the networks' views, and the ratio of two levels of the pyramid, as the package has them.
_VIEW_PX, _REFINED_PX, _OUTPUT_PX, _LEVEL_RATIO = 12, 24, 48, 0.709
# The shorter side of the smallest level: for faces of 20 pixels the package has as many levels. One below the view is
# an error in TensorFlow.
_LEAST_LEVEL_PX = _VIEW_PX * (_VIEW_PX / 20) * _LEVEL_RATIO**-1.5
# By network: the least score, and the overlap (of the union, or of the smaller box) of which the lower score goes.
_PROPOSAL, _REFINED, _OUTPUT = 0.6, 0.7, 0.8
_LEVEL_OVERLAP, _OVERLAP = 0.5, 0.7
# The grey level that is 0 for the networks, and is taken to be outside of the image.
_MIDDLE = 127.5


def _package() -> tuple[ModuleType, ModuleType, list[list[np.ndarray]]]:
    """Import the package's arithmetic of boxes and points, and read the weights of its three networks."""
    try:
        from mtcnn.utils import bboxes, landmarks
        from mtcnn.utils.tensorflow import load_weights
    except ImportError as error:
        advice = "`pip install 'ddl_tf[photos]'`, or bring landmarks of your own in a CSV file"
        raise InputError(
            f"faces are found by the package mtcnn, which cannot be imported ({error}): {advice}"
        ) from None
    version = importlib.metadata.version("mtcnn")
    if version != VERSION:
        raise InputError(f"mtcnn {version} is installed, and {VERSION} is needed: `pip install mtcnn=={VERSION}`")
    # Read by name from the package itself: a file of that name in the working folder would be taken first.
    folder = importlib.resources.files("mtcnn.assets.weights")
    return bboxes, landmarks, [load_weights(str(folder / f"{name}net.lz4")) for name in "pro"]


def _convolve(values: tf.Tensor, weights: Sequence[np.ndarray]) -> tf.Tensor:
    """A convolution without padding, and PReLU with a slope for each channel where there are three weights."""
    values = tf.nn.bias_add(tf.nn.conv2d(values, weights[0], 1, "VALID"), weights[1])
    return _prelu(values, weights[2]) if len(weights) == 3 else values


def _prelu(values: tf.Tensor, slope: np.ndarray) -> tf.Tensor:
    """PReLU with a slope for each channel, `[..., channels]`."""
    # Rows of an image that are one long axis: a product by single channels takes twice the time.
    shape = tf.shape(values)
    rows = tf.reshape(values, [-1, shape[-2] * shape[-1]]) if len(values.shape) == 4 else values
    slope = tf.tile(slope.reshape(-1), [tf.shape(rows)[-1] // shape[-1]])
    return tf.reshape(tf.maximum(rows, 0.0) + slope * tf.minimum(rows, 0.0), shape)


def _dense(values: tf.Tensor, weights: Sequence[np.ndarray]) -> tf.Tensor:
    return tf.nn.bias_add(values @ weights[0], weights[1])


def _flatten(values: tf.Tensor, weights: Sequence[np.ndarray]) -> tf.Tensor:
    """The hidden layer of the two later networks, whose weights are in Caffe's order: columns before rows."""
    values = tf.transpose(values, [0, 2, 1, 3])
    return _prelu(_dense(tf.reshape(values, [-1, weights[0].shape[0]]), weights[:2]), weights[2])


def _views(pixels: tf.Tensor, boxes: np.ndarray, side: int) -> tf.Tensor:
    """Cut boxes out of an image, each scaled to `side` pixels."""
    _, height, width, _ = pixels.shape
    relative = (boxes[:, [2, 1, 4, 3]] / [height, width, height, width]).astype(np.float32)
    return tf.image.crop_and_resize(
        pixels, relative, np.zeros(len(boxes), np.int32), [side, side], extrapolation_value=_MIDDLE
    )


def _centred(values: tf.Tensor) -> tf.Tensor:
    """What the networks take; after scaling there are fewer values than before."""
    return (values - _MIDDLE) / 128


class MTCNNDetector:
    """Find faces by MTCNN, without a download: the weights come with the PyPI package `mtcnn` 1.0.0.

    The same faces as `mtcnn.MTCNN().detect_faces`, several times as fast (docs/results/photos.md): the networks run in
    TensorFlow graphs, which several threads may call at a time, and points are not rounded to whole pixels. Faces that
    are turned by more than about 60 degrees, or upside down, are not found.

    Args:
        smallest_face: the side of the smallest box to look for, in pixels, at least 12. Twice the side is nearly four
            times as fast.

    Raises:
        InputError: if the package is not there, or in another version, or `smallest_face` is out of its range.

    Example:
        >>> detector = MTCNNDetector(smallest_face=40)  # doctest: +SKIP
        >>> detector.find(image).boxes  # doctest: +SKIP

    References:
        Zhang et al., Joint Face Detection and Alignment using Multitask Cascaded Convolutional Networks, SPL 2016.
        https://github.com/ipazc/mtcnn
    """

    def __init__(self, smallest_face: float = 20) -> None:
        if not smallest_face >= _VIEW_PX:
            raise InputError(f"smallest_face={smallest_face}: must be at least {_VIEW_PX} pixels")
        self._boxes, self._landmarks, weights = _package()
        self._smallest_face = smallest_face
        self.name = f"mtcnn {VERSION}, smallest face {smallest_face:g} px"
        self._proposal_weights, self._refine_weights, self._output_weights = weights
        # By the number of levels, for images of any size: levels run side by side.
        self._proposal_graphs: dict[int, Callable[..., list[list[tf.Tensor]]]] = {}
        refined, output = (tf.TensorSpec([None, side, side, 3], tf.float32) for side in (_REFINED_PX, _OUTPUT_PX))
        self._refine = tf.function(self._refine_boxes, [refined])
        self._output = tf.function(self._output_faces, [output])

    def find(self, image: np.ndarray) -> FoundFaces:
        """Find the faces of a uint8 `[height, width, 3]` RGB image; see `Detector`."""
        pixels = tf.cast(image, tf.float32)[tf.newaxis]
        boxes = self._proposals(pixels, image.shape[:2])
        if len(boxes):
            offsets, scores = (result.numpy() for result in self._refine(_views(pixels, boxes, _REFINED_PX)))
            boxes = self._boxes.adjust_bboxes(self._boxes.replace_confidence(boxes, scores), offsets)
            boxes = self._suppress(boxes[boxes[:, 5] > _REFINED], _OVERLAP)
            boxes = self._boxes.resize_to_square(boxes)
        if not len(boxes):
            return FoundFaces(np.empty([0, 4]), np.empty([0, 5, 2]), np.empty(0))
        offsets, points, scores = self._output(_views(pixels, boxes, _OUTPUT_PX))
        points = self._landmarks.adjust_landmarks(points, boxes)
        boxes = self._boxes.adjust_bboxes(self._boxes.replace_confidence(boxes, scores.numpy()), offsets.numpy())
        faces = np.concatenate([boxes, points], axis=1)
        faces = self._suppress(faces[faces[:, 5] > _OUTPUT], _OVERLAP, "min")
        height, width = image.shape[:2]
        limited = np.clip(faces[:, 1:5], 0, [width - 1, height - 1, width - 1, height - 1])
        # Five x, then five y.
        return FoundFaces(limited, faces[:, 6:].reshape(-1, 2, 5).transpose(0, 2, 1), faces[:, 5])

    def _scales(self, size: Sequence[int]) -> list[float]:
        """How much smaller each level is than the image."""
        scale, scales = _VIEW_PX / self._smallest_face, list[float]()
        while min(size) * scale >= _LEAST_LEVEL_PX:
            scales.append(scale)
            scale *= _LEVEL_RATIO
        return scales

    def _proposals(self, pixels: tf.Tensor, size: Sequence[int]) -> np.ndarray:
        """Boxes of the first network on all levels: `[n, 6]` image (number 0), left, top, right, bottom, score."""
        scales = self._scales(size)
        if not scales:
            return np.empty([0, 6])
        if len(scales) not in self._proposal_graphs:
            specs = [tf.TensorSpec([1, None, None, 3], tf.float32), tf.TensorSpec([len(scales), 2], tf.int32)]
            self._proposal_graphs[len(scales)] = tf.function(self._propose_on_levels, specs)
        found = self._proposal_graphs[len(scales)](pixels, np.outer(scales, size).astype(np.int32))
        levels = []
        for scale, results in zip(scales, found):
            places, offsets, scores = (result.numpy() for result in results)
            # As the package counts: from 1, and a view without its first row and column.
            corners = 2 * places[:, ::-1].astype(np.float64)
            corners = np.concatenate([corners + 1, corners + _VIEW_PX], axis=1) + offsets * (_VIEW_PX - 1)
            boxes = np.column_stack([np.zeros(len(scores)), corners / scale, scores])
            levels.append(self._suppress(boxes, _LEVEL_OVERLAP))
        return self._boxes.resize_to_square(self._suppress(np.concatenate(levels), _OVERLAP))

    def _propose_on_levels(self, pixels: tf.Tensor, sizes: tf.Tensor) -> list[list[tf.Tensor]]:
        return [self._propose_faces(pixels, size) for size in tf.unstack(sizes)]

    def _suppress(self, boxes: np.ndarray, overlap: float, method: str = "union") -> np.ndarray:
        """Leave out boxes that a higher score covers."""
        return self._boxes.smart_nms_from_bboxes(boxes, overlap, method=method) if len(boxes) else boxes

    def _propose_faces(self, pixels: tf.Tensor, size: tf.Tensor) -> list[tf.Tensor]:
        weights = self._proposal_weights
        values = _centred(tf.image.resize(pixels, size, tf.image.ResizeMethod.AREA))
        # The largest value after PReLU is that of the largest or of the smallest value before it, as slopes may be
        # negative. PReLU on the quarter that is left saves a quarter of the time of the whole search.
        values = _convolve(values, weights[:2])
        largest, smallest = (sign * tf.nn.max_pool2d(sign * values, 2, 2, "SAME") for sign in (1, -1))
        values = tf.maximum(_prelu(largest, weights[2]), _prelu(smallest, weights[2]))
        values = _convolve(_convolve(values, weights[3:6]), weights[6:8])[0]
        # Nearly all places are no face's and need no more than the odds, the difference of two scores. PReLU(x) is
        # slope x + (1 - slope) ReLU(x), and the odds are linear in it: no further pass over all values.
        slope, kernel = weights[8].reshape(-1, 1), weights[11][0, 0, :, 1:] - weights[11][0, 0, :, :1]
        odds = values @ (slope * kernel) + tf.nn.relu(values) @ ((1 - slope) * kernel)
        odds = odds[:, :, 0] + (weights[12][1] - weights[12][0])
        places = tf.where(odds > np.log(_PROPOSAL / (1 - _PROPOSAL)))
        offsets = _dense(_prelu(tf.gather_nd(values, places), weights[8]), (weights[9][0, 0], weights[10]))
        return [places, offsets, tf.nn.sigmoid(tf.gather_nd(odds, places))]

    def _refine_boxes(self, views: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        weights = self._refine_weights
        values = tf.nn.max_pool2d(_convolve(_centred(views), weights[:3]), 3, 2, "SAME")
        values = tf.nn.max_pool2d(_convolve(values, weights[3:6]), 3, 2, "VALID")
        values = _flatten(_convolve(values, weights[6:9]), weights[9:12])
        return _dense(values, weights[12:14]), tf.nn.softmax(_dense(values, weights[14:16]))

    def _output_faces(self, views: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
        weights = self._output_weights
        values = tf.nn.max_pool2d(_convolve(_centred(views), weights[:3]), 3, 2, "SAME")
        values = tf.nn.max_pool2d(_convolve(values, weights[3:6]), 3, 2, "VALID")
        values = tf.nn.max_pool2d(_convolve(values, weights[6:9]), 2, 2, "SAME")
        values = _flatten(_convolve(values, weights[9:12]), weights[12:15])
        scores = tf.nn.softmax(_dense(values, weights[19:21]))
        return _dense(values, weights[15:17]), _dense(values, weights[17:19]), scores
