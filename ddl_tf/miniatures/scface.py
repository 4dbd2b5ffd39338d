"""A small SCface of synthetic faces, in the official layout."""

import io
from pathlib import Path

from PIL import Image

from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.importers.scface import DISTANCES, VISIBLE_CAMERAS, View, mugshot
from ddl_tf.miniatures import write_file, write_lines
from ddl_tf.synthetic.faces import render

TEST_SUBJECTS, TRAINING_SUBJECTS = range(1, 9), range(9, 13)
# Pixels a side of a face, and its JPEG quality, at 4.20, 2.60 and 1.00 m.
_RESOLUTION = {1: 7, 2: 14, 3: 56}
_QUALITY = {1: 60, 2: 75, 3: 90}
_SIZE = 112


def write_scface(folder: Path, seed: int = 0) -> None:
    """Write `SCface_database` of synthetic faces of 112 pixels: 12 subjects, the five cameras of visible light.

    `test_subjects.txt` and `training_subjects.txt` beside it list 8 and 4 of them.
    """
    for name, subjects in (("test_subjects.txt", TEST_SUBJECTS), ("training_subjects.txt", TRAINING_SUBJECTS)):
        write_lines(folder / name, (f"{subject:03d}" for subject in subjects))
    root = folder / "SCface_database"
    for subject in [*TEST_SUBJECTS, *TRAINING_SUBJECTS]:
        path = root / "mugshot_frontal_cropped_all" / f"{mugshot(subject).key}.JPG"
        write_file(path, encode_jpeg(_face(subject, 0, seed)))
        for number, (distance, camera) in enumerate(((d, c) for d in DISTANCES for c in VISIBLE_CAMERAS), 1):
            seen = _from_afar(_face(subject, number, seed), distance)
            place = root / f"surveillance_cameras_distance_{distance}" / f"cam_{camera}"
            write_file(place / f"{View(subject, camera, distance).key}.jpg", encode_jpeg(seen))


def _face(subject: int, image: int, seed: int) -> Image.Image:
    return Image.fromarray(render(subject, image, seed, _SIZE)[0])


def _from_afar(face: Image.Image, distance: int) -> Image.Image:
    """See a face with the few pixels that a camera has for it, and cut it out as large as the others."""
    small = face.resize((_RESOLUTION[distance],) * 2, Image.Resampling.BOX)
    stored = Image.open(io.BytesIO(encode_jpeg(small, _QUALITY[distance])))
    return stored.resize((_SIZE, _SIZE), Image.Resampling.BICUBIC)
