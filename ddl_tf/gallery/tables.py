"""What a search found, as tables: for a file, and for a person to read."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import pandas as pd

from ddl_tf.common.text import csv_cell, visible
from ddl_tf.gallery.photos import Photo
from ddl_tf.gallery.search import Found
from ddl_tf.photos.finding import BOX_COLUMNS

FOUND_COLUMNS = ("rank", "person", "similarity", "known")
FACE_COLUMNS = ("face", *BOX_COLUMNS, "face_score")


def result_table(photos: Sequence[Photo], matches: Found, of_faces: bool) -> pd.DataFrame:
    """A row for each photo and person: `image`, with `of_faces` `FACE_COLUMNS`, and `FOUND_COLUMNS`."""
    known = np.full(matches.people.shape, None) if matches.known is None else matches.known.astype(object)
    rows = [
        (csv_cell(photo.path), *_face_cells(photo), rank + 1, csv_cell(person), float(similarity), known[row, rank])
        for row, photo in enumerate(photos)
        for rank, (person, similarity) in enumerate(zip(matches.people[row], matches.similarity[row]))
        if person is not None
    ]
    return pd.DataFrame(rows, columns=["image", *(FACE_COLUMNS if of_faces else ()), *FOUND_COLUMNS])


def _face_cells(photo: Photo) -> tuple[Any, ...]:
    if photo.box is None:
        return ()
    box = photo.box
    sides = (round(side, 1) for side in (box.left, box.top, box.right, box.bottom))
    return (box.number, *sides, round(box.score, 4))


def summary_table(photos: Sequence[Photo], matches: Found) -> pd.DataFrame:
    """A row for each photo: the most similar person, whether the person is known, and the next ones."""
    rows = []
    for row, photo in enumerate(photos):
        ranked = zip(matches.people[row], matches.similarity[row])
        texts = [(visible(person), f"{value:.3f}") for person, value in ranked if person is not None]
        first, *others = texts or [("-", "-")]
        known = "-" if matches.known is None or first[0] == "-" else "yes" if matches.known[row, 0] else "no"
        rows.append([visible(photo.name), *first, known, ", ".join(map(" ".join, others))])
    return pd.DataFrame(rows, columns=["image", "person", "similarity", "known", "next"])
