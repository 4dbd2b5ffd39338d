"""Galleries of the older form, of several files, read into a new gallery; the old files stay as they are."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from ddl_tf.common.errors import InputError
from ddl_tf.common.visible_text import visible
from ddl_tf.gallery import rows as gallery_rows
from ddl_tf.gallery.store import ModelRecord, making

_OLD_FORMAT = 1
# Images at a time.
_CHUNK = 50_000


def convert_gallery(old: str, folder: str) -> None:
    """Make a gallery in `folder` of one of the older form in `old`, where nothing is changed."""
    path = Path(old)
    file = path / "gallery.json"
    if not file.is_file():
        raise InputError(f"{visible(path)}: no gallery of the older form there (it has a gallery.json)")
    try:
        description = json.loads(file.read_text(encoding="utf-8"))
        if description["format"] != _OLD_FORMAT:
            raise InputError(f"{visible(file)}: format {description['format']}, where {_OLD_FORMAT} is converted")
        generation = path / str(description["generation"])
        images, embeddings = _read(generation, description)
        reference = np.load(path / "reference.npy", allow_pickle=False)
        model = ModelRecord(**description["model"], reference=reference)
        described = (model, description["entries"], description["index"], description["threshold"])
        created = description["created"]
    except (ValueError, KeyError, TypeError, EOFError, FileNotFoundError) as error:
        reason = f"{error.args[0]!r} is missing" if isinstance(error, KeyError) else error
        raise InputError(f"{visible(path)}: the gallery is damaged ({reason}); restore it from a copy") from None
    with making(Path(folder)) as connection:
        gallery_rows.insert_gallery(connection, *described, created=created)
        columns = [images[name].tolist() for name in ("person", "source", "time")]
        for start in range(0, len(images), _CHUNK):
            rows = slice(start, start + _CHUNK)
            people, sources, times = (column[rows] for column in columns)
            gallery_rows.insert_images(connection, people, sources, times, embeddings[rows])


def _read(folder: Path, description: Mapping[str, Any]) -> tuple[pd.DataFrame, np.ndarray]:
    # A lone carriage return in a name was written without quotes, and ends no line.
    images = pd.read_csv(folder / "images.csv", dtype=str, keep_default_na=False, lineterminator="\n")
    embeddings = np.load(folder / "embeddings.npy", mmap_mode="r", allow_pickle=False)
    shape = (description["images"], description["model"]["dim"])
    if embeddings.shape != shape or len(images) != shape[0] or not np.isfinite(embeddings).all():
        raise ValueError("its files do not fit together")
    return images, embeddings
