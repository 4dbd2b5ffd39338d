"""The numbers that a figure draws, read from the figure itself, so that the two cannot differ."""

import re
from collections.abc import Iterator
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.collections import PathCollection, PolyCollection
from matplotlib.colors import to_rgb
from matplotlib.container import ErrorbarContainer
from matplotlib.figure import Figure
from matplotlib.patches import Polygon, Rectangle
from matplotlib.ticker import FixedLocator

COLUMNS = ("panel", "series", "kind", "x", "y", "x_low", "x_high", "y_low", "y_high", "value", "x_name", "y_name")


def figure_data(figure: Figure) -> pd.DataFrame:
    """List what a figure draws: lines, points with their bars, bands, histograms, and cells of a matrix.

    Args:
        figure: a figure of any number of panels.

    Returns:
        A row for each point: `panel` (its title and the label of its y-axis), `series` (its label in the legend),
        `kind` ("line", "points", "bars", "outline", "band", "cell", "mark" of a line across the panel), `x`, `y` in the
        units of the axes, the ends of its bars or of the band and of a histogram's bins, the `value` of a cell, and the
        names of the places on an axis that has names. Columns in which nothing is are left out; pictures have no rows.

    Example:
        >>> figure = Figure()
        >>> _ = figure.subplots().plot([0.1, 1], [0.7, 0.9], label="DDL")
        >>> figure_data(figure)[["series", "x", "y"]].values.tolist()
        [['DDL', 0.1, 0.7], ['DDL', 1.0, 0.9]]
    """
    rows = []
    for axes in figure.axes:
        panel = ", ".join(filter(None, (axes.get_title(), axes.get_ylabel())))
        names = {"x": _tick_names(axes.xaxis), "y": _tick_names(axes.yaxis)}
        rows += [{"panel": panel, **row, **_names(names, row)} for row in _drawn(axes)]
    return pd.DataFrame(rows, columns=list(COLUMNS)).dropna(axis="columns", how="all")


def _drawn(axes: Axes) -> Iterator[dict[str, Any]]:
    bars = [container for container in axes.containers if isinstance(container, ErrorbarContainer)]
    of_bars = {id(line) for container in bars for line in [container.lines[0], *container.lines[1]]}
    series = {to_rgb(line.get_color()): _label(line) for line in axes.lines if _label(line)}
    for container in bars:
        yield from _error_bars(container)
    for line in axes.lines:
        x, y = (np.asarray(values, np.float64) for values in line.get_data())
        if id(line) in of_bars:
            continue
        # One direction of a line across the panel is in the panel's own units.
        if line.get_transform() is not axes.transData:
            place = {"x": x[0]} if x[0] == x[-1] else {"y": y[0]}
            yield {"series": _label(line), "kind": "mark", **place}
            continue
        for point in zip(x, y):
            yield {"series": _label(line), "kind": "line", **dict(zip("xy", point))}
    for patch in axes.patches:
        if isinstance(patch, Rectangle):
            left, bottom = patch.get_xy()
            edges = {"x_low": left, "x_high": left + patch.get_width()}
            yield {"series": _label(patch), "kind": "bars", "y": bottom + patch.get_height(), **edges}
        elif isinstance(patch, Polygon):
            for point in patch.get_xy():
                yield {"series": _label(patch), "kind": "outline", **dict(zip("xy", point))}
    for collection in axes.collections:
        if isinstance(collection, PathCollection):
            for point in np.asarray(collection.get_offsets(), np.float64):
                yield {"series": _label(collection), "kind": "points", **dict(zip("xy", point))}
        elif isinstance(collection, PolyCollection):
            yield from _band(collection, series)
    for image in axes.images:
        cells = np.asarray(image.get_array())
        # Those of three dimensions are pictures.
        for (row, column), value in np.ndenumerate(cells) if cells.ndim == 2 else ():
            yield {"series": "", "kind": "cell", "x": column, "y": row, "value": value}


def _error_bars(container: ErrorbarContainer) -> Iterator[dict[str, Any]]:
    line, _, collections = container.lines
    sides = [side for side, drawn in (("x", container.has_xerr), ("y", container.has_yerr)) if drawn]
    points = zip(*(np.asarray(values, np.float64) for values in line.get_data()))
    ends = {side: [np.asarray(path.vertices) for path in drawn.get_paths()] for side, drawn in zip(sides, collections)}
    for number, point in enumerate(points):
        row = {"series": _label(container), "kind": "points", **dict(zip("xy", point))}
        for side, segments in ends.items():
            low, high = segments[number][:, "xy".index(side)]
            row.update({f"{side}_low": low, f"{side}_high": high})
        if np.isfinite(point).all():
            yield row


def _band(collection: PolyCollection, series: dict[Any, str]) -> Iterator[dict[str, Any]]:
    """What `fill_between` drew; it has the colour of its line, whose series it is of."""
    colour = to_rgb(tuple(np.asarray(collection.get_facecolor())[0, :3].tolist()))
    label = _label(collection) or series.get(colour, "")
    for path in collection.get_paths():
        # Along one edge and back along the other, each with its first end before it.
        corners = np.asarray(path.vertices, np.float64)
        count = (len(corners) - 3) // 2
        there, back = corners[1 : count + 1], corners[count + 2 : 2 * count + 2][::-1]
        for (x, first), (_, second) in zip(there, back):
            yield {"series": label, "kind": "band", "x": x, "y_low": min(first, second), "y_high": max(first, second)}


def _label(artist: Any) -> str:
    label = str(artist.get_label() or "")
    return "" if label.startswith("_") else label


def _names(known: dict[str, dict[float, str]], row: dict[str, Any]) -> dict[str, str]:
    """The names of a row's places, of the sides that have names instead of numbers."""
    return {
        f"{side}_name": names[min(names, key=lambda place: abs(place - row[side]))]
        for side, names in known.items()
        if names and side in row and np.isfinite(row[side])
    }


def _tick_names(axis: Axis) -> dict[float, str]:
    """The names of the places on an axis; none where the places are numbers."""
    if not isinstance(axis.get_major_locator(), FixedLocator):
        return {}
    texts = [label.get_text().replace("\n", " ") for label in axis.get_majorticklabels()]
    if not any(re.search("[A-Za-z]{2}|^\\[", text) for text in texts):
        return {}
    return {place: text for place, text in zip(axis.get_majorticklocs().tolist(), texts) if text}
