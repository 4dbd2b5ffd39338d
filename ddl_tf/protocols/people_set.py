"""Faces of people, an identity or a folder each, as the set that a benchmark is made of."""

import collections
import dataclasses
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import walk_files
from ddl_tf.common.text import is_unicode, visible
from ddl_tf.data.layout import INDEX_COLUMNS, PAIRS, read_description
from ddl_tf.images.pose import LANDMARK_COLUMNS
from ddl_tf.importers.image_files import IMAGE_SUFFIXES, image_files
from ddl_tf.photos.finding import BOX_COLUMNS
from ddl_tf.protocols.people import check_people

# Where the face and its points lie in a photo says nothing of how hard it is.
_PLACES = {*BOX_COLUMNS, *LANDMARK_COLUMNS}
# Files whose headers are looked at.
_LOOKED_AT = 50


@dataclasses.dataclass(frozen=True)
class PeopleSet:
    """Faces of people.

    Attributes:
        name: for reports.
        images: the encoded images, aligned as the model was trained; read when they are asked for.
        keys: `[images]` the name of each.
        people: `[images]` text, whom each shows.
        columns: a row for each image: what else is known of it, numbers or text.
        source: where the images are: `data`, paths of stored sets, or `root`, a folder that the keys begin at.
        left_out: what was left out when the sets were stored, such as photos without a face: kind -> count.
    """

    name: str
    images: Sequence[bytes]
    keys: Sequence[str]
    people: np.ndarray
    columns: pd.DataFrame
    source: dict[str, Any]
    left_out: dict[str, int] = dataclasses.field(default_factory=dict)

    def table(self) -> pd.DataFrame:
        """The columns that are stored with the images: `person`, and the others."""
        return pd.concat([pd.DataFrame({"person": self.people}), self.columns], axis=1)


def stored_people(paths: Sequence[str]) -> PeopleSet:
    """Open stored sets, an identity a person; people of two sets are different ones.

    Raises:
        InputError: if a set is missing or damaged, is a verification set, or nobody can be compared.
    """
    # TensorFlow, which takes seconds to import, is not needed for a folder of images.
    from ddl_tf.data.store import Faces

    for path in paths:
        if (Path(path) / PAIRS).is_file():
            raise InputError(f"{path}: a verification set, which has its own pairs; use `evaluate pairs --pairs`")
    faces = Faces(paths)
    names = [os.path.basename(os.path.abspath(path)) for path in paths]
    # Two sets may have people, and folders, of one name.
    prefix = [f"{path}/" for path in (names if len(set(names)) == len(names) else paths)] if len(paths) > 1 else [""]
    index = faces.index
    prefixes = np.repeat(np.array(prefix, object), [end - start for start, end in faces.spans])
    people = (prefixes + index["identity_key"].astype(str).to_numpy(object)).astype(str)
    keys = [f"{person}, row {row}" for row, person in enumerate(people.tolist())]
    if "photo" in index and index["photo"].is_unique:
        keys = [str(photo) for photo in index["photo"]]
    hidden = {*INDEX_COLUMNS, *_PLACES, "key", "person"} - ({"group"} if (index["group"] >= 0).any() else set())
    columns = index.drop(columns=list(hidden & set(index)))
    source = {"data": [os.path.abspath(path) for path in paths]}
    check_people(people, ",".join(paths))
    left_out = collections.Counter[str]()
    for path in paths:
        left_out.update(read_description(Path(path)).get("problems", {}))
    return PeopleSet("_".join(names), faces.images(), keys, people, columns, source, dict(left_out))


def folder_people(root: str) -> PeopleSet:
    """List the aligned faces of a folder that has a folder for each person: .jpg, .jpeg and .png files at any depth.

    Other files are left out, and counted on stderr; so it says if these look like plain photos.

    Raises:
        InputError: if there is no such folder, or nobody can be compared.
    """
    folder = Path(root)
    if not folder.is_dir():
        raise InputError(f"{root}: no such folder; give one that holds a folder of faces for each person")
    names = [path.relative_to(folder) for path in walk_files(folder)]
    faces = [
        name
        for name in names
        if len(name.parts) > 1 and name.suffix.lower() in IMAGE_SUFFIXES and is_unicode(str(name))
    ]
    if len(faces) < len(names):
        example = visible(min(set(names) - set(faces)))
        print(
            f"{visible(root)}: {len(names) - len(faces):,} files are left out, such as {example}: no .jpg, .jpeg or "
            ".png in a person's folder",
            file=sys.stderr,
        )
    people = np.array([name.parts[0] for name in faces], str)
    check_people(people, root)
    files = [folder / name for name in faces]
    _warn_of_photos(root, files)
    columns, source = pd.DataFrame(index=range(len(faces))), {"root": os.path.abspath(root)}
    keys = [name.as_posix() for name in faces]
    return PeopleSet(os.path.basename(source["root"]), image_files(files), keys, people, columns, source)


def _warn_of_photos(root: str, paths: Sequence[Path]) -> None:
    sizes = [_size(path) for path in paths[:: -(-len(paths) // _LOOKED_AT)]]
    oblong = [size for size in sizes if size and size[0] != size[1]]
    if 2 * len(oblong) > len(sizes):
        width, height = oblong[0]
        print(
            f"{visible(root)}: most images are not square, such as {width:,} x {height:,} px; if these are plain "
            "photos and no aligned faces, the numbers say nothing",
            file=sys.stderr,
        )


def _size(path: Path) -> Optional[tuple[int, int]]:
    """Width and height by an image's header; None if it has none, which the embedding reports."""
    try:
        with Image.open(path) as image:
            return image.size
    except Exception:  # on damaged files Pillow raises nearly anything
        return None
