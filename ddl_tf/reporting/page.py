"""One HTML page from sections of sentences, tables and pictures; and the same pictures and tables as files."""

import base64
import dataclasses
import functools
import hashlib
import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Union

import jinja2
import matplotlib
from matplotlib.figure import Figure

from ddl_tf.common.files import write_aside
from ddl_tf.reporting.figure_data import figure_data
from ddl_tf.reporting.layout_table import Strong, TextTable

_DPI = 150
_COORDINATES = re.compile(r' (d|x|y)="([^"]*)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")

# File systems take names of 255 bytes, with an ending and what writing aside puts before it.
_LONGEST = 150


def anchor(*words: str) -> str:
    """Make a name for files and anchors of any words, `roc-my.20.set`; other words make another name."""
    # What stands between the words and around a number is in none of them.
    name = "-".join(re.sub("[^A-Za-z0-9_]", lambda match: f".{ord(match[0]):x}.", word) for word in words)
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}..{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the page, and what it shows in words (`alternative`); `name`, of files and anchor, is unique."""

    name: str
    figure: Figure
    alternative: str
    caption: str

    @functools.cached_property
    def svg(self) -> str:
        """The figure as SVG on white, its text as shapes, so that it looks the same without our fonts."""
        file = io.StringIO()
        with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "ddl_tf"}):
            self.figure.savefig(file, format="svg", facecolor="white", metadata={"Date": None, "Creator": None})
        # Everything has its place now; to find it again for each file takes longer than to draw.
        self.figure.set_layout_engine(None)
        return _COORDINATES.sub(lambda match: f' {match[1]}="{_LONG.sub(_hundredths, match[2])}"', file.getvalue())

    @property
    def source(self) -> str:
        """The SVG as the address of an image."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.svg.encode()).decode()}"


def _hundredths(number: re.Match[str]) -> str:
    """Of a point, which nobody sees: half of the size."""
    return f"{float(number[0]):.2f}".rstrip("0").rstrip(".")


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page: its anchor (those of pictures and tables begin with `part-`), heading and content."""

    name: str
    title: str
    sentences: Sequence[str] = ()
    parts: Sequence[Union[Picture, TextTable]] = ()


def render_page(title: str, summary: str, sections: Sequence[Section]) -> str:
    """Write a page that needs nothing else: no script, no network, no file beside it. All text is escaped."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.tests["picture"] = lambda part: isinstance(part, Picture)
    environment.tests["strong"] = lambda cell: isinstance(cell, Strong)
    sections = [section for section in sections if section.sentences or section.parts]
    return environment.get_template("page.html.j2").render(title=title, summary=summary, sections=sections)


def write_report(folder: Path, title: str, summary: str, sections: Sequence[Section]) -> Path:
    """Write the page `index.html`, and as files the figures (`figures/NAME.png`, `.svg`, `.csv`) and tables.

    `figures/NAME.csv` has the numbers that the figure draws; faces have none. Tables are `tables/NAME.csv`, `.md` and
    `.tex`.
    """
    page = render_page(title, summary, sections)
    # A page of before would say that the new figures are its own.
    (folder / "index.html").unlink(missing_ok=True)
    for part in (part for section in sections for part in section.parts):
        if isinstance(part, Picture):
            files = {f"figures/{part.name}.svg": part.svg}
            with write_aside(folder / "figures" / f"{part.name}.png") as aside:
                part.figure.savefig(aside, dpi=_DPI, facecolor="white")
            if len(drawn := figure_data(part.figure)):
                files[f"figures/{part.name}.csv"] = drawn.to_csv(index=False)
        else:
            base = f"tables/{part.name}"
            files = {f"{base}.csv": part.csv(), f"{base}.md": part.markdown(), f"{base}.tex": part.latex()}
        for name, text in files.items():
            _write(folder / name, text)
    # Last: it is there only if all that it was made with is.
    _write(folder / "index.html", page)
    return folder / "index.html"


def _write(path: Path, text: str) -> None:
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
