"""Copies of photos with their faces marked and named."""

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple, Optional

from matplotlib.font_manager import findfont
from PIL import Image, ImageDraw, ImageFont

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.parallel import map_in_order
from ddl_tf.common.progress import Progress
from ddl_tf.common.text import visible
from ddl_tf.detection.photo import decode_photo
from ddl_tf.evaluation.plots import EASY, HARD, SAME
from ddl_tf.gallery.photos import FaceBox, Photo, read_photo
from ddl_tf.gallery.search import Found
from ddl_tf.images.pillow_images import encode_jpeg
from ddl_tf.importers.source import Problem
from ddl_tf.reporting.palette import GREY

# A copy has no more than twice as many pixels on its longer side.
_SIDE, _QUALITY = 4096, 90
# Letters are a fifth of the box high, within these shares of the photo's longer side, and at least so many pixels.
_SHARE_OF_BOX, _SHARES_OF_PHOTO, _LEAST_LETTER = 0.2, (0.011, 0.022), 12


class Mark(NamedTuple):
    """A face to mark: its box, in pixels of the upright photo, the words at it, and the colour of both."""

    box: FaceBox
    words: str
    colour: str


def face_marks(faces: Sequence[Photo], matches: Found, refused: Sequence[Photo] = ()) -> dict[str, list[Mark]]:
    """Say how the searched faces, and without words the `refused` ones, are marked, by the path of the photo.

    Whoever is known is named with the similarity, and so is the most similar person where there is no threshold; an
    unknown face has a question mark. The number is that of the face in the tables.
    """
    marks: dict[str, list[Mark]] = {}
    for row, face in enumerate(faces):
        assert face.box is not None
        person = matches.people[row, 0] if matches.people.shape[1] else None
        known = None if matches.known is None or person is None else bool(matches.known[row, 0])
        name = "?" if person is None or known is False else f"{visible(person)} {matches.similarity[row, 0]:.2f}"
        colour = HARD if name == "?" else EASY if known is None else SAME
        marks.setdefault(face.path, []).append(Mark(face.box, f"#{face.box.number} {name}", colour))
    for face in refused:
        # Of the usable faces of a photo none may have an embedding.
        if face.box is not None and face.path in marks:
            marks[face.path].append(Mark(face.box, "", GREY))
    return marks


def check_marked(folder: Path, images: str) -> None:
    """Refuse a folder for copies that is not new or empty, or that lies among the images themselves."""
    if folder.exists() and not (folder.is_dir() and not any(folder.iterdir())):
        raise InputError(f"--marked={visible(folder)}: there is something already; name a new or empty folder")
    if images and Path(os.path.realpath(folder)).is_relative_to(os.path.realpath(images)):
        raise InputError(f"--marked={visible(folder)}: it would be among the --images; name a folder elsewhere")


def write_marked(folder: Path, root: str, marks: Mapping[str, Sequence[Mark]]) -> list[Problem]:
    """Write a marked JPEG copy of each photo of `marks` (path -> marks), and return what could not be copied.

    A copy has the photo's path below `root`, or below the folder that it has in common with all photos, and its name,
    with `.jpg` behind it if that is no JPEG's.
    """
    base = os.path.commonpath([os.path.abspath(root), *marks])
    targets: dict[str, Path] = {}
    problems = []
    taken = set()
    for path in marks:
        target = folder / os.path.relpath(path, base)
        if target.suffix.lower() not in (".jpg", ".jpeg"):
            target = target.with_name(f"{target.name}.jpg")
        # Some file systems do not tell large letters from small ones.
        if str(target).casefold() in taken:
            problems.append(Problem("not marked", path, f"{target} is the copy of another photo; rename one of both"))
        else:
            taken.add(str(target).casefold())
            targets[path] = target
    with Progress("mark", len(targets), unit="photo") as progress:
        for problem in map_in_order(lambda path: _write_copy(path, targets[path], marks[path]), targets, 1):
            problems += [problem] if problem else []
            progress.advance()
    return problems


def _write_copy(path: str, target: Path, marks: Sequence[Mark]) -> Optional[Problem]:
    encoded = read_photo(path)
    if isinstance(encoded, Problem):
        return encoded
    try:
        photo = decode_photo(encoded, _SIDE)
    except ValueError as error:
        return Problem("corrupt image", path, str(error))
    image, width = photo.image, photo.image.width
    image.thumbnail((2 * _SIDE, 2 * _SIDE))
    with write_aside(target) as aside:
        aside.write_bytes(encode_jpeg(draw_marks(image, photo.scale * width / image.width, marks), _QUALITY))
    return None


def draw_marks(image: Image.Image, scale: float, marks: Sequence[Mark]) -> Image.Image:
    """Draw marks into an RGB image, of which a pixel is `scale` pixels of the photo wide; it is returned."""
    draw, longer = ImageDraw.Draw(image), max(image.size)
    line = max(2, round(longer / 400))
    least, most = (max(_LEAST_LETTER, share * longer) for share in _SHARES_OF_PHOTO)
    sides = [
        tuple(side / scale for side in (mark.box.left, mark.box.top, mark.box.right, mark.box.bottom)) for mark in marks
    ]
    for mark, box in zip(marks, sides):
        draw.rectangle(box, outline=mark.colour, width=line)
    # Words last: no line of another box crosses them.
    for mark, (left, top, _, bottom) in zip(marks, sides):
        if not mark.words:
            continue
        letter = min(max(mark.box.side / scale * _SHARE_OF_BOX, least), most)
        font, margin = ImageFont.truetype(findfont("DejaVu Sans"), round(letter)), round(letter / 4)
        width, height = round(draw.textlength(mark.words, font)) + 2 * margin, round(letter * 1.4)
        # Above the box, below it where there is no room; within the photo.
        x = max(0, min(left, image.width - width))
        y = top - height if top >= height else min(bottom, image.height - height)
        draw.rectangle((x, y, x + width, y + height), fill=mark.colour)
        draw.text((x + margin, y + height / 2), mark.words, "white", font, anchor="lm")
    return image
