"""Photos with a face of five coloured dots, which every decoder, scaling and turn leaves to be found."""

import io

import numpy as np
from PIL import Image

from ddl_tf.detection import FoundFaces
from ddl_tf.images.template import ARCFACE_TEMPLATE

COLOURS = np.array([[250, 20, 20], [20, 250, 20], [20, 20, 250], [250, 250, 20], [250, 20, 250]])


class DotDetector:
    """Finds one face: the middle of each colour's pixels; keeps the size of what it was shown."""

    name = "dots"

    def find(self, image):
        self.size = image.shape[1::-1]
        near = np.abs(image[:, :, None].astype(int) - COLOURS).max(-1) < 90
        places = [np.argwhere(near[..., number])[:, ::-1] for number in range(5)]
        if not all(map(len, places)):
            return FoundFaces(np.empty([0, 4]), np.empty([0, 5, 2]), np.empty(0))
        points = np.array([place.mean(0) for place in places])
        box = np.concatenate([points.min(0), points.max(0)])
        return FoundFaces(box[None], points[None], np.ones(1))


def dotted_picture(size, middle, side):
    """A picture of (width, height) pixels, and the landmarks `[5, 2]` of its face, whose template has `side` pixels."""
    down, across = np.mgrid[: size[1], : size[0]]
    pixels = np.stack([60 + 40 * across / size[0], 60 + 40 * down / size[1], np.full(across.shape, 80.0)], -1)
    points = np.asarray(middle) + (ARCFACE_TEMPLATE - 56) * (side / 112)
    for point, colour in zip(points, COLOURS):
        pixels[np.hypot(across - point[0], down - point[1]) < side / 14] = colour
    return Image.fromarray(pixels.round().astype(np.uint8)), points


def encoded(picture, kind="JPEG", **options):
    """A picture as a file; a JPEG without a loss of colours."""
    file = io.BytesIO()
    picture.save(file, kind, **({"quality": 95, "subsampling": 0} if kind == "JPEG" else {}), **options)
    return file.getvalue()


def oriented(picture, orientation, kind="JPEG"):
    """A picture as a camera stores it that was held so; EXIF turns it upright again."""
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored = picture.transpose(undo[orientation]) if orientation in undo else picture
    return encoded(stored, kind, exif=exif)
