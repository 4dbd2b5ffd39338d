"""A folder of drawn photos for each person, as a camera leaves them, and photos of groups to search in."""

import dataclasses
import io
from pathlib import Path

import numpy as np
from PIL import Image

from ddl_tf.miniatures import write_file
from ddl_tf.synthetic.conditions import Conditions, draw_conditions
from ddl_tf.synthetic.scenes import Figure, draw_scene

# Of the identities from 5000 to 5059 of seed 0 those that MTCNN finds most surely; the quickstart trains on none.
# This is to show commands: how many drawn faces are found at all is in docs/results/photos.md.
PEOPLE = (5000, 5003, 5005, 5006, 5010, 5026, 5027, 5030, 5040, 5043, 5048, 5049)
PHOTOS, GROUPS = 6, 3
# People and strangers of a group.
_KNOWN, _UNKNOWN = 4, 2
_SIZE, _GROUP_SIZE = (960, 720), (1280, 960)
# All sizes are multiplied by this; tests draw smaller photos.
_PIXELS = 1.0
# Of each person: a photo that the camera turned and EXIF turns back, one without colours, and two that are hard, one by
# a yaw and one by its size.
_TURNED, _GREY, _YAW, _SMALL = 1, 2, 4, 5
# The orientation in EXIF of a camera that was held upright: the pixels lie on their side.
_ORIENTATION, _ON_ITS_SIDE = 0x0112, 6
# Identities from here on are strangers, in the background and in groups.
_STRANGERS = 9000


def write_photos(folder: Path, seed: int = 0) -> None:
    """Write `people/Person_000/photo_1.jpg`, ... of 12 people, 6 photos each, and `group/group_1.jpg`, ... of 3 groups.

    Every other photo shows strangers too, smaller. A group shows four of the people and two strangers.
    """
    for person in range(len(PEOPLE)):
        for photo in range(PHOTOS):
            path = folder / "people" / f"Person_{person:03d}" / f"photo_{photo + 1}.jpg"
            write_file(path, _photo(person, photo, seed))
    for group in range(GROUPS):
        write_file(folder / "group" / f"group_{group + 1}.jpg", _group(group, seed))


def _posed(identity: int, photo: int, seed: int) -> Conditions:
    """How a person is seen who knows of the camera: smiling a little, the head up, in good light."""
    seen = draw_conditions(identity, photo, seed)
    smile = min(max(seen.smile, 0.2), 0.7)
    return dataclasses.replace(seen, smile=smile, pitch=max(seen.pitch, -3.0), light=max(seen.light, 0.95))


def _photo(person: int, photo: int, seed: int) -> bytes:
    rng = np.random.default_rng([seed, person, photo, 0])
    seen, side = _posed(PEOPLE[person], photo, seed), rng.uniform(110, 240)
    if photo == _YAW:
        seen = dataclasses.replace(seen, yaw=float(rng.choice([-1, 1]) * rng.uniform(30, 45)))
    if photo == _SMALL:
        side = rng.uniform(44, 56)
    figures = [Figure(PEOPLE[person], seen, side)]
    for number in range(photo % 2 * int(rng.integers(1, 3))):
        stranger = _STRANGERS + PHOTOS * person + photo + 1000 * number
        figures.append(Figure(stranger, _posed(stranger, photo, seed), side * rng.uniform(0.3, 0.6)))
    picture = _draw(figures, PHOTOS * person + photo, seed, _SIZE)
    if photo == _GREY:
        picture = picture.convert("L")
    return _jpeg(picture.transpose(Image.Transpose.ROTATE_90), _ON_ITS_SIDE) if photo == _TURNED else _jpeg(picture)


def _group(group: int, seed: int) -> bytes:
    rng = np.random.default_rng([seed, len(PEOPLE), group, 0])
    people = rng.choice(PEOPLE, _KNOWN, replace=False).tolist()
    people += [_STRANGERS - 1 - _UNKNOWN * group - number for number in range(_UNKNOWN)]
    figures = [Figure(identity, _posed(identity, PHOTOS + group, seed), rng.uniform(70, 150)) for identity in people]
    return _jpeg(_draw(figures, len(PEOPLE) * PHOTOS + group, seed, _GROUP_SIZE))


def _draw(figures: list[Figure], scene: int, seed: int, size: tuple[int, int]) -> Image.Image:
    figures = [dataclasses.replace(figure, side=figure.side * _PIXELS) for figure in figures]
    return Image.fromarray(draw_scene(figures, scene, seed, (round(size[0] * _PIXELS), round(size[1] * _PIXELS))).image)


def _jpeg(picture: Image.Image, orientation: int = 1) -> bytes:
    """As a camera stores it: at its usual quality, with fewer colours than pixels, and how it was held in EXIF."""
    exif, encoded = Image.Exif(), io.BytesIO()
    exif[_ORIENTATION] = orientation
    picture.save(encoded, "JPEG", quality=90, exif=exif)
    return encoded.getvalue()
