"""A picture of one training batch: which rows each group has, as the network gets them."""

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.data.sampling import Rows

# Inches: of a tile, between tiles, and for the names at the left.
_TILE, _GAP, _NAMES = 0.62, 0.05, 1.55


def _lines(rows: Rows) -> list[tuple[str, list[list[int]]]]:
    """Pairs and single rows of each group, and the rows without a group: name, and the rows of each identity."""
    lines = []
    for group in sorted(set(rows.group.tolist()), key=lambda group: (group < 0, group)):
        kind = "no group" if group < 0 else f"group {group}, {'hard' if group else 'easy'}"
        of_identity: dict[int, list[int]] = {}
        for row in np.flatnonzero(rows.group == group).tolist():
            of_identity.setdefault(int(rows.identity[row]), []).append(row)
        together = [tiles for tiles in of_identity.values() if len(tiles) > 1 and group >= 0]
        alone = [[row] for tiles in of_identity.values() if len(tiles) == 1 or group < 0 for row in tiles]
        for name, sets in (("pairs", together), ("single rows", alone)):
            if sets:
                lines.append((f"{kind}\n{name}: {len(sets)}", sets))
    return lines


def batch_sheet(images: np.ndarray, rows: Rows, most: int = 8) -> Figure:
    """Draw the rows of a batch, group by group: pairs beside each other, then single rows; `most` of each.

    A row that is classified has a frame. Images are `[rows, height, width, 3]`, 0..255, as the pipeline gives them.
    """
    lines = _lines(rows)
    widest = max(sum(len(tiles) + 0.3 for tiles in sets[:most]) for _, sets in lines)
    width = _NAMES + widest * (_TILE + _GAP)
    height = 0.35 + len(lines) * (_TILE + 2.5 * _GAP)
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    title = f"{len(images)} rows, {int((rows.label >= 0).sum())} of them classified (framed)"
    figure.text(0.5, 1 - 0.17 / height, title, ha="center", va="center", fontsize=9)
    for number, (name, sets) in enumerate(lines):
        bottom = height - 0.35 - (number + 1) * (_TILE + 2.5 * _GAP) + _GAP
        figure.text(0.08 / width, (bottom + _TILE / 2) / height, name, va="center", fontsize=8)
        left = _NAMES
        for tiles in sets[:most]:
            for row in tiles:
                axes = figure.add_axes((left / width, bottom / height, _TILE / width, _TILE / height))
                axes.imshow(np.clip(images[row], 0, 255).astype(np.uint8), interpolation="lanczos")
                axes.set(xticks=[], yticks=[])
                for spine in axes.spines.values():
                    spine.set(visible=bool(rows.label[row] >= 0), color="#1b6ca8", linewidth=1.6)
                left += _TILE + _GAP / 3
            left += 0.3 * (_TILE + _GAP)
    return figure
