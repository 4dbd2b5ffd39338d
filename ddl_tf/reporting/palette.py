"""How the models of a report are drawn: colours, dashes and markers."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from ddl_tf.evaluation.plots import EASY, HARD, SAME

GREY = "#8a8a8a"

# Neighbours differ in hue, lightness, dashes and marker, so that no two differ by colour alone.
SERIES = (EASY, HARD, SAME, "#a86b00", "#7b5ea7", "#00798c", "#5c4742", "#b0478f", "#5f7a00", "#3f4fa8")
_DASHES = ("-", "--", "-.", ":")
_MARKERS = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p")


@dataclasses.dataclass(frozen=True)
class Style:
    """How one model is drawn, the same in all figures."""

    colour: str
    dash: str
    marker: str

    @property
    def line(self) -> dict[str, Any]:
        """What a line of it takes."""
        return {"color": self.colour, "linestyle": self.dash}

    @property
    def points(self) -> dict[str, Any]:
        """What points with error bars of it take."""
        return {"color": self.colour, "marker": self.marker}


def style(position: int) -> Style:
    """Choose the style of the model at a position; after ten the colours come again with other dashes and markers."""
    turn = position // len(SERIES)
    dash = _DASHES[(position + turn) % len(_DASHES)]
    return Style(SERIES[position % len(SERIES)], dash, _MARKERS[(position + turn) % len(_MARKERS)])


def styles_of(names: Iterable[str]) -> dict[str, Style]:
    """Choose the styles of models and runs, each name once, in order."""
    return {name: style(position) for position, name in enumerate(dict.fromkeys(names))}
