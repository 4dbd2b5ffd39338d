"""Encoded images that are read when they are asked for."""

import dataclasses
import errno
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Callable, Union

from ddl_tf.common.files import require_regular_file
from ddl_tf.common.text import visible
from ddl_tf.importers.source import Problem, Sample

IMAGE_SUFFIXES = (".jpg", ".png", ".jpeg")


class LazyImages(Sequence[bytes]):
    """Encoded images that `read` (position -> image) gives when asked for; `fingerprint()` changes when they do."""

    def __init__(self, count: int, read: Callable[[int], bytes], fingerprint: Callable[[], str]) -> None:
        self._count, self._read, self.fingerprint = count, read, fingerprint

    def __len__(self) -> int:
        return self._count

    def __getitem__(self, index: Any) -> Any:
        if isinstance(index, slice):
            return [self._read(position) for position in range(*index.indices(self._count))]
        if not -self._count <= index < self._count:
            raise IndexError(f"image {index} of {self._count}")
        return self._read(index % self._count)


def read_sample(path: Path, place: str, *known: Any) -> Union[Sample, Problem]:
    """Read an image file: a `Sample` with what is `known` of it, or why it cannot be read, with the place to name."""
    if "\0" in str(path):
        return Problem("file name", place, f"{visible(str(path))} holds the character 0, which no file's name may")
    try:
        sample = Sample(require_regular_file(path).read_bytes(), *known)
        return dataclasses.replace(sample, file=str(path))
    except OSError as error:
        kind = "no file" if error.errno == errno.EINVAL else "missing file"
        return Problem(kind, place, f"{path}: {error.strerror}")


def images_below(folder: Path) -> list[Path]:
    """List the image files of a folder, at any depth, by their endings; hidden ones are none."""
    files = sorted(folder.rglob("*"))
    return [path for path in files if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".")]


def find_image(name: Path) -> Path:
    """Find the file of an image that a list names without `.jpg`, `.png` or `.jpeg` in any case; else the `.jpg`."""
    spellings = [spelling for suffix in IMAGE_SUFFIXES for spelling in (suffix, suffix.upper(), suffix.title())]
    paths = (Path(f"{name}{spelling}") for spelling in spellings)
    return next((path for path in paths if path.is_file()), Path(f"{name}{spellings[0]}"))


def fingerprint_files(paths: Sequence[Union[str, Path]], more: bytes = b"") -> str:
    """Identify files by a SHA-256 of their names, sizes and times of change, and of `more`."""
    digest = hashlib.sha256(more)
    for path in paths:
        state = os.stat(path)
        digest.update(f"{os.path.basename(path)} {state.st_size} {state.st_mtime_ns}\n".encode())
    return digest.hexdigest()


def image_files(paths: Sequence[Path]) -> LazyImages:
    """Make the images of some files; their fingerprint is `fingerprint_files`."""
    return LazyImages(
        len(paths), lambda n: require_regular_file(paths[n]).read_bytes(), lambda: fingerprint_files(paths)
    )


def fingerprint_images(images: Sequence[bytes]) -> str:
    """Identify encoded images: their `LazyImages.fingerprint`, or a SHA-256 of the content of those in memory."""
    if isinstance(images, LazyImages):
        return images.fingerprint()
    digest = hashlib.sha256()
    for image in images:
        digest.update(len(image).to_bytes(8, "little") + image)
    return digest.hexdigest()
