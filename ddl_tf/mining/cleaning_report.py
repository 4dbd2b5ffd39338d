"""What cleaning found as tables and pictures, where each image is beside those that it is judged by."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple, Optional

import numpy as np
import pandas as pd
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from PIL import Image

from ddl_tf.common.errors import InputError
from ddl_tf.common.files import write_aside
from ddl_tf.common.markdown import markdown_table
from ddl_tf.common.text import figure_text
from ddl_tf.data.store import Faces
from ddl_tf.mining.cleaning import FAULTS, Cleaning, fault_rows, faults_table, same_person_table
from ddl_tf.mining.labels import Labels

# Pixels of an image, of the gap between two parts of an example, and of the line below; images of an identity to show.
_TILE, _GAP, _LINE, _SHOWN = 96, 10, 16, 3
_WIDTH, _DPI = 1600, 100


class Example(NamedTuple):
    """Images beside each other in parts, `[n]` rows of the index each, and what is written below."""

    text: str
    parts: Sequence[Sequence[int]]

    @property
    def width(self) -> int:
        """Its width in pixels, with the gap that follows."""
        return sum(len(part) * _TILE + _GAP for part in self.parts) + _GAP


def evidence_sheet(faces: Faces, examples: Sequence[Example], title: str) -> Figure:
    """Draw examples, as many beside each other as fit; the parts of one are set apart."""
    place = width = max(example.width for example in examples)
    across = max(1, _WIDTH // width)
    lines = -(-len(examples) // across)
    canvas = np.full([lines * (_TILE + _LINE), across * width, 3], 255, np.uint8)
    texts = []
    for number, example in enumerate(examples):
        top, place = number // across * (_TILE + _LINE), number % across * width
        texts.append((place, top + _TILE + _LINE / 2, example.text))
        for part in example.parts:
            for row in part:
                canvas[top : top + _TILE, place : place + _TILE] = _tile(faces, row)
                place += _TILE
            place += _GAP
    head = 30
    height, wide = canvas.shape[0] + head, canvas.shape[1]
    figure = Figure(figsize=(wide / _DPI, height / _DPI), dpi=_DPI)
    FigureCanvasAgg(figure)
    axes = figure.add_axes((0, 0, 1, canvas.shape[0] / height))
    axes.set_axis_off()
    axes.imshow(canvas, interpolation="nearest", aspect="auto", extent=(0, wide, canvas.shape[0], 0))
    for left, middle, words in texts:
        axes.text(left, middle, figure_text(words), fontsize=7, va="center")
    figure.text(0.5, 1 - head / 2 / height, figure_text(title), ha="center", va="center", fontsize=11)
    return figure


def _tile(faces: Faces, row: int) -> np.ndarray:
    try:
        return np.asarray(Image.fromarray(faces.image(row)).resize((_TILE, _TILE), Image.Resampling.LANCZOS))
    except InputError:
        # What cannot be decoded is a fault too.
        return np.full([_TILE, _TILE, 3], 128, np.uint8)


def fault_examples(
    faces: Faces, columns: pd.DataFrame, labels: Optional[Labels], fault: str, most: int, seed: int
) -> list[Example]:
    """Choose images of a fault at random, and put beside each what it is judged by."""
    rng = np.random.default_rng([seed, sum(map(ord, fault))])
    rows = np.flatnonzero(columns["fault"] == fault)
    chosen = np.sort(rng.permutation(rows)[:most])
    return [_example(faces, columns, labels, fault, int(row)) for row in chosen]


def _example(faces: Faces, columns: pd.DataFrame, labels: Optional[Labels], fault: str, row: int) -> Example:
    found, identity = columns.iloc[row], faces.index["identity"].to_numpy()
    name = f"row {row}"
    if fault in ("duplicate", "near_duplicate", "two_labels"):
        group = np.flatnonzero((columns["copy_of"] == row) | (columns.index == row))
        other = found["copy_of"] if found["copy_of"] >= 0 else group[group != row][0]
        keys = faces.index["identity_key"].iloc[[row, other]].astype(str).tolist()
        return Example(f"{name}: {keys[0]}; row {other}: {keys[1]}; {_number(columns, row, other)}", [[row], [other]])
    if fault == "poor_fit":
        return Example(f"{name}: {found['misfit_px']:.0f} px", [[row]])
    if labels is not None and fault in ("wrong_identity", "outlier"):
        mine = [image for image in _typical(identity, labels, int(identity[row]), _SHOWN + 1) if image != row]
        parts, text = [[row], mine[:_SHOWN]], f"{name}: own {found['own_similarity']:.2f}"
        if fault == "wrong_identity":
            parts.append(_typical(identity, labels, int(labels.nearest_identity[row]), _SHOWN))
            text += f", other {found['other_similarity']:.2f}"
        return Example(text, parts)
    return Example(name, [[row]])


def _number(columns: pd.DataFrame, row: int, other: int) -> str:
    similarity = columns["copy_similarity"].iloc[[row, other]].max()
    return f"{similarity:.3f}"


def _typical(identity: np.ndarray, labels: Labels, number: int, count: int) -> list[int]:
    """The images of an identity that are nearest to its others."""
    rows = np.flatnonzero(identity == number)
    own = np.nan_to_num(labels.own_similarity[rows], nan=-2)
    return rows[np.argsort(-own, kind="stable")[:count]].tolist()


def same_person_examples(faces: Faces, labels: Labels, most: int) -> list[Example]:
    """Put pairs of identities that are one person beside each other, spread over all similarities, the surest first."""
    identity = faces.index["identity"].to_numpy()
    same = labels.same.sort_values("similarity", ascending=False)
    chosen = np.unique(np.linspace(0, len(same) - 1, min(most, len(same))).astype(int))
    examples = []
    for first, second, similarity in same.iloc[chosen][["first", "second", "similarity"]].itertuples(index=False):
        parts = [_typical(identity, labels, number, _SHOWN) for number in (first, second)]
        examples.append(Example(f"{similarity:.2f}", parts))
    return examples


def write_cleaning(faces: Faces, found: Cleaning, folder: Path, most: int, seed: int) -> None:
    """Print what was found, and write its tables (`faults.csv`, `same_person.csv`) and sheets into a folder.

    Args:
        faces: the sets.
        found: by `find_faults`.
        folder: made if it is not there; files of an earlier cleaning are replaced.
        most: examples on a sheet.
        seed: of the choice of examples.
    """
    folder.mkdir(parents=True, exist_ok=True)
    print(markdown_table(faults_table(found.columns["fault"].to_numpy())), end="\n\n")
    tables = {"faults.csv": fault_rows(faces, found.columns)}
    sheets = {fault: fault_examples(faces, found.columns, found.labels, fault, most, seed) for fault in FAULTS}
    if not found.columns["fault"].any():
        print("no image has a fault")
    if found.labels is not None:
        tables["same_person.csv"] = table = same_person_table(faces, found.labels)
        sheets["same_person"] = same_person_examples(faces, found.labels, most)
        print(f"identities that are one person: {len(table):,} pairs, {table['person'].nunique():,} people")
        limits = found.labels.limits
        print(
            f"limits: an outlier has an own similarity below {limits['outlier']:.3f}, a wrong identity another above "
            f"{limits['other']:.3f}, one person a similarity above {limits['same']:.3f}"
        )
        unreachable = [
            what for what, name in (("wrong identity", "other"), ("one person", "same")) if limits[name] >= 1
        ]
        if unreachable:
            print(
                f"no cosine is above 1: this model finds no {' and no '.join(unreachable)} here, as its people are too "
                "much alike; take a better model, or set --deviations or --same_similarity lower"
            )
    written = []
    for name, content in tables.items():
        with write_aside(folder / name) as aside:
            content.to_csv(aside, index=False)
        written.append(name)
    for kind, examples in sheets.items():
        file = folder / f"{kind}.jpg"
        if examples:
            total = (
                len(found.labels.same)
                if kind == "same_person" and found.labels
                else np.sum(found.columns["fault"] == kind)
            )
            with write_aside(file) as aside:
                evidence_sheet(faces, examples, f"{kind}: {len(examples):,} of {total:,}").savefig(aside)
            written.append(file.name)
        else:
            # What an earlier cleaning found there is not so any more.
            file.unlink(missing_ok=True)
    print(f"look at {folder}: {', '.join(written)}")
