"""Pictures: random images of each group, how the values of columns are distributed in them, and a training batch."""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Optional

import numpy as np
import pandas as pd
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from ddl_tf.common.errors import InputError
from ddl_tf.common.text import figure_text
from ddl_tf.data.sampling import Rows
from ddl_tf.data.store import Faces
from ddl_tf.evaluation.plots import EASY, HARD

NONE, NOISE = "#8a8a8a", "#7b5ea7"
_BINS = 40
# What lies beyond these percentiles of every group is drawn in the bins at the ends: one wild value would squeeze all
# others into one bin.
_INNER = (0.5, 99.5)
_CATEGORIES = 8
# Inches.
_TILE, _GAP, _LINE, _MARGIN = 0.9, 0.08, 0.125, 1.75


class _Part(NamedTuple):
    """Rows that are drawn together."""

    name: str
    colour: Any
    rows: np.ndarray

    @property
    def images(self) -> str:
        return f"{len(self.rows):,} image{'s' * (len(self.rows) != 1)}"


def _parts(group: np.ndarray, noise: Optional[np.ndarray]) -> list[_Part]:
    """Teacher, each student, the noise band if there is one, and the rest if there is any."""
    group = np.asarray(group)
    noisy = np.zeros(len(group), bool) if noise is None else np.asarray(noise, bool)
    if len(noisy) != len(group):
        raise ValueError(f"{len(group)} groups, but noise is of {len(noisy)} images")
    students = max(1, int(group.max(initial=1)))
    parts = [_Part("easy (group 0)", EASY, np.flatnonzero((group == 0) & ~noisy))]
    for k in range(1, students + 1):
        colour = HARD if k == 1 else colormaps["autumn"]((k - 1) / students)
        parts.append(_Part(f"hard (group {k})", colour, np.flatnonzero((group == k) & ~noisy)))
    if noise is not None:
        parts.append(_Part("noise", NOISE, np.flatnonzero(noisy)))
    rest = np.flatnonzero((group < 0) & ~noisy)
    return [*parts, _Part("none (group -1)", NONE, rest)] if len(rest) else parts


def _short(value: Any) -> str:
    """A value for a small caption."""
    if not isinstance(value, (int, float, np.number)):
        return str(value)[:14]
    number = float(value)
    if np.isnan(number):
        return "none"
    return f"{number:,.0f}" if abs(number) >= 100 or number.is_integer() else f"{number:.3g}"


def contact_sheet(
    faces: Faces,
    group: np.ndarray,
    title: str = "",
    noise: Optional[np.ndarray] = None,
    columns: Optional[pd.DataFrame] = None,
    per_group: int = 10,
    seed: int = 0,
) -> Figure:
    """Draw random images of each group, a row of them for each.

    Args:
        faces: the images.
        group: `[images]` int: 0 easy, 1..K hard, -1 none.
        title: above the rows.
        noise: `[images]` bool, images of the noise band; they have a row of their own, whatever their group.
        columns: `[images]` rows with the values to write under each image.
        per_group: the number of images in a row.
        seed: of the choice.

    Returns:
        The figure, with `savefig`. The global state of pyplot is not touched.

    Raises:
        ValueError: if group, noise and columns do not have a row for each image.
    """
    columns = pd.DataFrame(index=range(len(faces))) if columns is None else columns
    if not len(faces) == len(group) == len(columns):
        raise ValueError(f"{len(faces)} images, but {len(group)} groups and columns of {len(columns)}")
    parts = _parts(group, noise)
    names = [str(name) for name in columns]
    pitch = _TILE + _GAP, _TILE + _GAP + _LINE * len(names) + (0.08 if names else 0)
    head = 0.4 if title else 0.1
    width, height = _MARGIN + per_group * pitch[0], head + len(parts) * pitch[1]
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    if title:
        figure.text(0.5, 1 - 0.2 / height, figure_text(title), ha="center", va="center", fontsize=11)

    def text(x: float, y: float, words: str, **style: Any) -> None:
        figure.text(x / width, 1 - y / height, figure_text(words), **style)

    for number, part in enumerate(parts):
        top = head + number * pitch[1]
        text(0.1, top + 0.36 * _TILE, part.name, fontsize=10, weight="bold", color=part.colour, va="center")
        text(0.1, top + 0.58 * _TILE, part.images if len(part.rows) else "no images", fontsize=8, va="center")
        # The seed of a row is its own: a change of one group leaves the pictures of the others.
        rng = np.random.default_rng([seed, number])
        chosen = np.sort(rng.permutation(part.rows)[:per_group])
        for place, row in enumerate(chosen.tolist()):
            left = _MARGIN + place * pitch[0]
            axes = figure.add_axes((left / width, 1 - (top + _TILE) / height, _TILE / width, _TILE / height))
            axes.set_axis_off()
            try:
                axes.imshow(faces.image(row), interpolation="lanczos")
            except InputError:
                # One damaged image among thousands is no reason to see none of the others.
                words = f"row {row:,}\nis damaged"
                axes.text(0.5, 0.5, words, ha="center", va="center", fontsize=8, color=HARD, transform=axes.transAxes)
            for line, name in enumerate(names):
                value = _short(columns[name].iat[row])
                text(left + _TILE / 2, top + _TILE + _LINE * (line + 0.75), value, fontsize=7, ha="center", va="center")
        for line, name in enumerate(names if len(chosen) else ()):
            style = {"fontsize": 6.5, "color": "#606060", "ha": "right", "va": "center"}
            text(_MARGIN - 0.08, top + _TILE + _LINE * (line + 0.75), name, **style)
    return figure


def _draw_numbers(axes: Axes, values: np.ndarray, parts: Sequence[_Part], marks: Sequence[float]) -> None:
    samples = [sample[np.isfinite(sample)] for sample in (values[part.rows] for part in parts)]
    ends = [np.percentile(sample, _INNER) for sample in samples if len(sample)]
    low, high = min([*(sample[0] for sample in ends), *marks]), max([*(sample[1] for sample in ends), *marks])
    room = 0.02 * (high - low) or 0.5
    low, high = low - room, high + room
    bins = np.linspace(low, high, _BINS + 1)
    for part, sample in zip(parts, samples):
        style: dict[str, Any] = {"histtype": "step", "color": part.colour, "linewidth": 1.5}
        if part.colour == NONE:
            style.update(histtype="stepfilled", alpha=0.3)
        if len(sample):
            shares = np.full(len(sample), 1 / len(sample))
            axes.hist(np.clip(sample, low, high), bins.tolist(), weights=shares, **style)
    for mark in marks:
        axes.axvline(mark, color="black", linestyle="--", linewidth=1)
        place: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
        axes.annotate(_short(float(mark)), (mark, 1), (2, -2), fontsize=8, va="top", **place)
    beyond = sum(int(np.sum((sample < low) | (sample > high))) for sample in samples)
    if beyond:
        axes.set_xlabel(f"{beyond:,} beyond, in the bins at the ends", fontsize=8, color="#606060")
    axes.set_xlim(low, high)


def _draw_categories(axes: Axes, values: pd.Series, parts: Sequence[_Part]) -> None:
    names = values.value_counts().index[:_CATEGORIES]
    wide = 0.8 / len(parts)
    for number, part in enumerate(parts[::-1]):
        texts = values.iloc[part.rows].dropna()
        shares = [float((texts == name).mean()) if len(texts) else 0.0 for name in names]
        places = np.arange(len(names)) + (number - (len(parts) - 1) / 2) * wide
        axes.bar(places, shares, wide, color=part.colour, alpha=0.3 if part.colour == NONE else 0.85)
    labels = [figure_text(_short(str(name))) for name in names]
    axes.set_xticks(range(len(names)), labels, rotation=30, ha="right", fontsize=8)


def distribution_figure(
    index: pd.DataFrame,
    group: np.ndarray,
    columns: Sequence[str],
    thresholds: Optional[Mapping[str, Sequence[float]]] = None,
    noise: Optional[np.ndarray] = None,
) -> Figure:
    """Draw the distribution of columns in each group: a panel a column, with the thresholds of the rules as lines.

    Every group's bars sum to 1, however many images it has.

    Args:
        index: `[images]` rows with the columns.
        group: `[images]` int: 0 easy, 1..K hard, -1 none.
        columns: numbers or text.
        thresholds: column -> the values that the rules compare it with.
        noise: `[images]` bool, images of the noise band, whatever their group.

    Returns:
        The figure, with `savefig`. The global state of pyplot is not touched.

    Raises:
        ValueError: if index, group and noise do not have a row for each image, or there is no column.

    Example:
        >>> index = pd.DataFrame({"yaw": [5.0, 8.0, 60.0, 70.0]})
        >>> len(distribution_figure(index, np.array([0, 0, 1, 1]), ["yaw"], {"yaw": [20]}).axes)
        1
    """
    if len(index) != len(group) or not columns:
        raise ValueError(f"{len(columns)} columns of {len(index)} images, and {len(group)} groups")
    # What is behind is drawn first.
    parts = _parts(group, noise)[::-1]
    across = 2 if len(columns) == 4 else min(3, len(columns))
    down = -(-len(columns) // across)
    figure = Figure(figsize=(max(7.0, 4.4 * across), 0.6 + 3 * down), dpi=120, layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(down, across, squeeze=False).ravel()
    for axes in panels[len(columns) :]:
        axes.set_visible(False)
    for axes, name in zip(panels, columns):
        values = index[name]
        numeric = pd.api.types.is_numeric_dtype(values)
        if numeric:
            numbers = values.to_numpy(np.float64, na_value=np.nan)
            values = pd.Series(np.where(np.isfinite(numbers), numbers, np.nan))
        missing = int(values.isna().sum())
        axes.set_title(figure_text(name) + (f" ({missing:,} without a value)" if missing else ""), fontsize=10)
        axes.grid(alpha=0.3)
        if missing == len(values):
            axes.text(0.5, 0.5, "no values", ha="center", va="center", transform=axes.transAxes)
        elif numeric:
            _draw_numbers(axes, values.to_numpy(), parts, (thresholds or {}).get(name, ()))
        else:
            _draw_categories(axes, values, parts)
    for axes in panels[::across]:
        axes.set_ylabel("share of the group")
    handles = [Patch(color=part.colour, label=f"{part.name}, {part.images}") for part in parts[::-1]]
    figure.legend(handles=handles, loc="outside upper center", ncols=min(3, len(parts)), frameon=False)
    return figure


def batch_sheet(images: np.ndarray, rows: Rows, most: int = 8) -> Figure:
    """Draw the rows of a batch, group by group: pairs beside each other, then single rows; `most` of each.

    A row that is classified has a frame. Images are `[rows, height, width, 3]`, 0..255, as the pipeline gives them.
    """
    # Of each line its name, and the rows of each identity.
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
    # Inches: of a tile, between tiles, and for the names at the left.
    tile, gap, margin = 0.62, 0.05, 1.55
    widest = max(sum(len(tiles) + 0.3 for tiles in sets[:most]) for _, sets in lines)
    width = margin + widest * (tile + gap)
    height = 0.35 + len(lines) * (tile + 2.5 * gap)
    figure = Figure(figsize=(width, height), dpi=150)
    FigureCanvasAgg(figure)
    title = f"{len(images)} rows, {int((rows.label >= 0).sum())} of them classified (framed)"
    figure.text(0.5, 1 - 0.17 / height, title, ha="center", va="center", fontsize=9)
    for number, (name, sets) in enumerate(lines):
        bottom = height - 0.35 - (number + 1) * (tile + 2.5 * gap) + gap
        figure.text(0.08 / width, (bottom + tile / 2) / height, name, va="center", fontsize=8)
        left = margin
        for tiles in sets[:most]:
            for row in tiles:
                axes = figure.add_axes((left / width, bottom / height, tile / width, tile / height))
                axes.imshow(np.clip(images[row], 0, 255).astype(np.uint8), interpolation="lanczos")
                axes.set(xticks=[], yticks=[])
                for spine in axes.spines.values():
                    spine.set(visible=bool(rows.label[row] >= 0), color="#1b6ca8", linewidth=1.6)
                left += tile + gap / 3
            left += 0.3 * (tile + gap)
    return figure
