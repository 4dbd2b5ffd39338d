"""The pairs that a model errs on most, as pictures; the images are where they were when the set was evaluated."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Optional

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import require_regular_file
from ddl_tf.common.text import figure_text
from ddl_tf.evaluation.plots import HARD
from ddl_tf.images.pillow_images import decode_image
from ddl_tf.protocols.people_set import stored_people

# Inches: of a face, between faces, and of a line of text.
_TILE, _GAP, _LINE = 1.05, 0.12, 0.15


def worst_pairs(scores: Mapping[str, np.ndarray], count: int) -> tuple[np.ndarray, np.ndarray]:
    """Choose the least similar pairs of one person, a person each, and the most similar of two, two people each.

    `scores` are those of `evaluate_people`. Gives the positions of at most `count` pairs of each kind, the worst first.
    """
    people = np.unique(scores["people"], return_inverse=True)[1]
    ends = np.sort([people[scores["first"]], people[scores["second"]]], axis=0)
    whose = ends[0] * (people.max() + 1) + ends[1]
    same = np.asarray(scores["same"], bool)
    chosen = []
    for members, sign in ((np.flatnonzero(same), 1), (np.flatnonzero(~same), -1)):
        order = members[np.argsort(sign * scores["similarity"][members], kind="stable")]
        # A wrong label would fill all places.
        _, firsts = np.unique(whose[order], return_index=True)
        chosen.append(order[np.sort(firsts)[:count]])
    return chosen[0], chosen[1]


def image_reader(source: Mapping[str, Any], images: pd.DataFrame) -> Callable[[int], np.ndarray]:
    """Give what reads an image of an evaluated set by its position, uint8 `[height, width, 3]`.

    That raises an InputError, with the image's name, if it is no longer there, or damaged.

    Args:
        source: where the images were (`source` of the result of `evaluate_people`).
        images: the stored table of the images.

    Raises:
        InputError: if the stored sets or the folder are gone, or the sets have other images now.
    """
    keys = images["key"].tolist()
    encoded = _encoded_images(source, keys)

    def read(place: int) -> np.ndarray:
        try:
            return decode_image(encoded(place))
        except OSError as error:
            raise InputError(f"{keys[place]}: {error.strerror}") from None
        except ValueError as error:
            raise InputError(f"{keys[place]}: {error}") from None

    return read


def _encoded_images(source: Mapping[str, Any], keys: Sequence[str]) -> Callable[[int], bytes]:
    if "data" in source:
        faces = stored_people(source["data"])
        if list(faces.keys) != list(keys):
            raise InputError(f"{','.join(source['data'])}: has other images now; evaluate it again")
        return lambda place: faces.images[place]
    root = Path(source["root"])
    if not root.is_dir():
        raise InputError(f"{root}: no such folder; put it back, or evaluate the set where it is now")
    return lambda place: require_regular_file(root / keys[place]).read_bytes()


def pairs_figure(
    read: Callable[[int], np.ndarray],
    rows: Sequence[tuple[str, np.ndarray]],
    scores: Mapping[str, np.ndarray],
    texts: Optional[Mapping[int, str]] = None,
) -> tuple[Figure, list[str]]:
    """Draw pairs, one image above the other, with their similarity and the names of the people.

    Args:
        read: as `image_reader` gives it.
        rows: a heading, and the positions of its pairs.
        scores: of the set.
        texts: what to write of a pair instead of its similarity.

    Returns:
        The figure, and what is wrong with the images that are missing from it.
    """
    across = max(3, *(len(pairs) for _, pairs in rows))
    block = 2 * _TILE + 0.04 + 3 * _LINE
    width, height = _GAP + across * (_TILE + _GAP), sum(0.3 + block + _GAP for _ in rows)
    figure = Figure(figsize=(width, height), dpi=150)
    missing: list[str] = []

    def draw(place: int, left: float, top: float) -> None:
        axes = figure.add_axes((left / width, 1 - (top + _TILE) / height, _TILE / width, _TILE / height))
        axes.set_axis_off()
        try:
            axes.imshow(read(place), interpolation="lanczos")
        except InputError as error:
            # One image that is gone is no reason to see none of the others.
            missing.append(str(error))
            axes.text(0.5, 0.5, "no image", ha="center", va="center", fontsize=8, color=HARD, transform=axes.transAxes)

    def text(words: str, left: float, top: float, **style: Any) -> None:
        figure.text(left / width, 1 - top / height, words, va="top", **style)

    top = 0.0
    for heading, pairs in rows:
        text(heading, _GAP, top + 0.06, fontsize=9, weight="bold")
        top += 0.3
        for number, pair in enumerate(pairs.tolist()):
            left = _GAP + number * (_TILE + _GAP)
            sides = [int(scores[side][pair]) for side in ("first", "second")]
            for line, place in enumerate(sides):
                draw(place, left, top + line * (_TILE + 0.04))
            names = list(dict.fromkeys(str(scores["people"][place]) for place in sides))
            value = texts[pair] if texts else f"{scores['similarity'][pair]:.3f}"
            lines = [value, *(_short(name) for name in names)]
            for line, words in enumerate(lines):
                text(words, left, top + 2 * _TILE + 0.08 + line * _LINE, fontsize=7)
        top += block + _GAP
    return figure, missing


def _short(name: str) -> str:
    return figure_text(name if len(name) <= 18 else f"{name[:17]}\N{HORIZONTAL ELLIPSIS}")
