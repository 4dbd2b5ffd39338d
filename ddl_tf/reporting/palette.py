"""The colours of a report, each with a tone for a light and one for a dark page."""

import dataclasses
from collections.abc import Iterable
from typing import Any

from ddl_tf.evaluation.comparison import EASY, HARD
from ddl_tf.evaluation.plots import DIFFERENT, SAME

GREY = "#8a8a8a"

# As drawn -> (on a light page, on a dark one). What is drawn in other colours keeps them.
TONES: dict[str, tuple[str, str]] = {
    "#000000": ("#1c2128", "#e3e7ec"),
    "#ffffff": ("#ffffff", "#171b21"),
    "#b0b0b0": ("#b0b0b0", "#7a828c"),
    "#cccccc": ("#cccccc", "#4a525c"),
    GREY: ("#6d6d6d", "#9aa2ac"),
    EASY: (EASY, "#62b0ea"),
    HARD: ("#c93f52", "#f2818f"),
    SAME: (SAME, "#45c496"),
    DIFFERENT: (DIFFERENT, "#f08a7c"),
    "#a86b00": ("#a86b00", "#e0aa45"),
    "#7b5ea7": ("#7b5ea7", "#b89ce6"),
    "#00798c": ("#00798c", "#45c3d6"),
    "#5c4742": ("#5c4742", "#c8aea5"),
    "#b0478f": ("#b0478f", "#ea86ca"),
    "#5f7a00": ("#5f7a00", "#a9c94c"),
    "#3f4fa8": ("#3f4fa8", "#93a2f5"),
    # Of the plots of a run.
    "#edae49": ("#a8720b", "#edae49"),
    "#66a182": ("#3f7d5d", "#7cc39d"),
    "#8d5a97": ("#8d5a97", "#c795d2"),
}
PAGE = ("#ffffff", "#171b21")

# Neighbours differ in hue, lightness, dashes and marker, so that colour alone tells nothing.
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


def variable(colour: str) -> str:
    """Name the CSS variable of a colour of `TONES`."""
    return f"--c{colour[1:]}"


def css_variables(dark: bool) -> str:
    """Write the declarations of all colours for a style sheet.

    Args:
        dark: whether for a dark page.

    Returns:
        `--c000000: #...; ...`
    """
    return " ".join(f"{variable(drawn)}: {tones[dark]};" for drawn, tones in TONES.items())
