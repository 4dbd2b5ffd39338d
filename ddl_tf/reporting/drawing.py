"""Figures as files: pictures, and the numbers that they draw; many are drawn side by side, on several cores."""

import io
import re
import signal
from collections.abc import Iterable
from typing import NamedTuple

import matplotlib
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from threadpoolctl import threadpool_limits

from ddl_tf.common.parallel import spawned_processes, usable_cores
from ddl_tf.reporting.figure_data import figure_data

_DPI = 150
# Each takes a second to start, and 200 MB.
_MOST_PROCESSES = 4
_COORDINATES = re.compile(r' (d|x|y)="([^"]*)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")


class Drawing(NamedTuple):
    """What is stored of a figure.

    Attributes:
        png: on white.
        svg: on white, its text as shapes, so that it looks the same without our fonts.
        numbers: what it draws, as CSV; empty if that is no numbers.
    """

    png: bytes
    svg: str
    numbers: str


def draw(figure: Figure) -> Drawing:
    """Draw a figure; equal figures give equal drawings."""
    # Everything finds its place once: that takes as long as to draw. Sizes of texts are kept for the PNG.
    FigureCanvasAgg(figure)
    figure.set_dpi(_DPI)
    if engine := figure.get_layout_engine():
        engine.execute(figure)
        figure.set_layout_engine(None)
    png, svg = io.BytesIO(), io.StringIO()
    # By default a file is up to a fifth smaller, and its encoding takes half again as long.
    figure.savefig(png, format="png", dpi=_DPI, facecolor="white", pil_kwargs={"compress_level": 1})
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "ddl_tf"}):
        figure.savefig(svg, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
    short = _COORDINATES.sub(lambda match: f' {match[1]}="{_LONG.sub(_hundredths, match[2])}"', svg.getvalue())
    drawn = figure_data(figure)
    return Drawing(png.getvalue(), short, drawn.to_csv(index=False) if len(drawn) else "")


def draw_all(figures: Iterable[Figure], many: bool = False) -> list[Drawing]:
    """Draw figures in order; many by several processes, while the next figures are made."""
    processes = min(usable_cores(), _MOST_PROCESSES)
    if not many or processes < 2:
        # An error in the making of a figure comes before others are drawn in vain.
        return list(map(draw, list(figures)))
    with threadpool_limits(1, "blas"), spawned_processes(processes, _begin) as pool:
        # They take a second to start: about as long as the first figure takes to be made.
        pool.map(abs, range(processes))
        return list(pool.map(draw, figures))


def _begin() -> None:
    """In a process: leave Ctrl-C to the one that waits, and the other cores to the other ones."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    threadpool_limits(1, "blas")


def _hundredths(number: re.Match[str]) -> str:
    """Of a point, which nobody sees: half of the size."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")
