"""A contact sheet of faces, with a few words below each."""

import io
from collections.abc import Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ddl_tf.common.text import figure_text

_COLUMNS = 10
# Inches.
_TILE, _GAP, _LINE = 0.95, 0.08, 0.13
# Letters that fit below a face.
_LETTERS = 22


def face_sheet(faces: Sequence[bytes], *captions: Sequence[str]) -> Figure:
    """Draw encoded faces in rows, each with its captions, a line each, below it."""
    columns = min(_COLUMNS, len(faces))
    pitch = _TILE + _GAP, _TILE + _GAP + _LINE * len(captions) + 0.06
    width, height = _GAP + columns * pitch[0], _GAP + -(-len(faces) // columns) * pitch[1]
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    for number, face in enumerate(faces):
        left, top = _GAP + number % columns * pitch[0], _GAP + number // columns * pitch[1]
        axes = figure.add_axes((left / width, 1 - (top + _TILE) / height, _TILE / width, _TILE / height))
        axes.set_axis_off()
        axes.imshow(np.asarray(Image.open(io.BytesIO(face))), interpolation="lanczos")
        for line, words in enumerate(captions):
            below = 1 - (top + _TILE + _LINE * (line + 0.7)) / height
            text = words[number] if len(words[number]) <= _LETTERS else f"{words[number][: _LETTERS - 1]}…"
            figure.text((left + _TILE / 2) / width, below, figure_text(text), fontsize=6, ha="center", va="center")
    return figure
