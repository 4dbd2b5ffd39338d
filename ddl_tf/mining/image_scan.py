"""One look at every image of stored sets, for cleaning, in parts that an interrupted command goes on from."""

import functools
import hashlib
from pathlib import Path
from typing import Optional, Union

import numpy as np
from PIL import Image

import ddl_tf
from ddl_tf.common.files import write_aside
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.partial_folder import open_partial
from ddl_tf.common.progress import Progress
from ddl_tf.data.store import Faces
from ddl_tf.detection.detector import Detector
from ddl_tf.detection.face_check import check_face
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.mining.columns import sets_record

# Images between two points that an interrupted command goes on from, and the files of these parts.
PART, PART_NAMES = 4096, r"part-\d{5,}\.npy"
_THUMBNAIL = 16

# Of an image: a digest and the number of its pixels, a grey thumbnail, and what `check_face` finds (NaN: not looked
# for). Of one that cannot be decoded there are no pixels.
SCAN = np.dtype(
    [
        ("digest", np.uint64),
        ("pixels", np.int64),
        ("thumbnail", np.uint8, (_THUMBNAIL, _THUMBNAIL)),
        ("face_score", np.float32),
        ("misfit_px", np.float32),
    ]
)


def scan_image(encoded: bytes, detector: Optional[Detector]) -> Union[np.ndarray, str]:
    """Decode and measure one image: a `SCAN` `[1]`, or why it cannot be decoded."""
    try:
        pixels = decode_image(encoded)
    except ValueError as error:
        return str(error)
    digest = hashlib.blake2b(repr(pixels.shape).encode() + pixels.tobytes(), digest_size=8).digest()
    grey = Image.fromarray(pixels).convert("L")
    thumbnail = np.asarray(grey.resize((_THUMBNAIL, _THUMBNAIL), Image.Resampling.BOX))
    score, misfit = check_face(pixels, detector) if detector else (np.nan, np.nan)
    number = int.from_bytes(digest, "little")
    return np.array([(number, pixels.shape[0] * pixels.shape[1], thumbnail, score, misfit)], SCAN)


def scan_faces(faces: Faces, folder: Path, detector: Optional[Detector]) -> np.ndarray:
    """Look at every image once.

    Args:
        faces: the images.
        folder: for the parts; whoever uses the result removes them by `discard`.
        detector: what looks for the faces; None: nothing does.

    Returns:
        `[images]` of the type `SCAN`.

    Raises:
        InputError: if the folder holds parts of something else, or another process is at work in it.
    """
    starts = range(0, len(faces), PART)
    by = {"detector": detector.name if detector else None, "ddl_tf": ddl_tf.__version__}
    with open_partial(folder, {"scan": "clean", **by, "sets": sets_record(faces)}, PART_NAMES):
        files = [folder / f"part-{number:05d}.npy" for number in range(len(starts))]
        done = sum(min(PART, len(faces) - start) for file, start in zip(files, starts) if file.exists())
        with Progress("look at images", len(faces), done) as progress:
            for file, start in zip(files, starts):
                if not file.exists():
                    part = _scan_part(faces, range(start, min(start + PART, len(faces))), detector, progress)
                    with write_aside(file) as aside:
                        np.save(aside, part)
        return np.concatenate([np.load(file) for file in files])


def _scan_part(faces: Faces, rows: range, detector: Optional[Detector], progress: Progress) -> np.ndarray:
    part = np.zeros(len(rows), SCAN)
    images = iter(faces.images(rows))
    for place, scan in enumerate(map_in_order(functools.partial(scan_image, detector=detector), images)):
        if isinstance(scan, str):
            progress.write(f"image {rows[place]} cannot be decoded ({scan})")
        else:
            part[place] = scan[0]
        progress.advance()
    return part
