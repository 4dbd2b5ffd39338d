"""One HTML page from sections of sentences, tables and pictures; and the same pictures and tables as files."""

import base64
import dataclasses
import functools
import hashlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Union

import jinja2
from matplotlib.figure import Figure

from ddl_tf.common.files import write_aside
from ddl_tf.reporting.drawing import Drawing, draw, draw_all
from ddl_tf.reporting.layout_table import Strong, TextTable

# File systems take names of 255 bytes, with an ending and what writing aside puts before it.
_LONGEST = 150


def anchor(*words: str) -> str:
    """Make a name for files and anchors of any words, `roc-my.20.set`; other words make another name."""
    # What stands between the words and around a number is in none of them.
    name = "-".join(re.sub("[^A-Za-z0-9_]", lambda match: f".{ord(match[0]):x}.", word) for word in words)
    if len(name) <= _LONGEST:
        return name
    return f"{name[:_LONGEST]}..{hashlib.sha256(name.encode()).hexdigest()[:16]}"


@dataclasses.dataclass
class Picture:
    """A figure of the page, and what it shows in words (`alternative`); `name`, of files and anchor, is unique."""

    name: str
    figure: Figure
    alternative: str
    caption: str

    @functools.cached_property
    def drawing(self) -> Drawing:
        """The figure as it is stored."""
        return draw(self.figure)

    @property
    def source(self) -> str:
        """The SVG as the address of an image."""
        return f"data:image/svg+xml;base64,{base64.b64encode(self.drawing.svg.encode()).decode()}"


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


def write_report(folder: Path, title: str, summary: str, sections: Iterable[Section], many: bool = False) -> Path:
    """Write the page `index.html`, and as files the figures (`figures/NAME.png`, `.svg`, `.csv`) and tables.

    `figures/NAME.csv` has the numbers that the figure draws; faces have none. Tables are `tables/NAME.csv`, `.md` and
    `.tex`. If there are many figures, processes draw them while the next sections are made.
    """
    made: list[Section] = []
    pictures: list[Picture] = []

    def figures() -> Iterator[Figure]:
        for section in sections:
            made.append(section)
            for part in section.parts:
                if isinstance(part, Picture):
                    pictures.append(part)
                    yield part.figure

    for picture, drawing in zip(pictures, draw_all(figures(), many)):
        picture.drawing = drawing
    page = render_page(title, summary, made)
    # A page of before would say that the new figures are its own.
    (folder / "index.html").unlink(missing_ok=True)
    for part in (part for section in made for part in section.parts):
        if isinstance(part, Picture):
            drawing = part.drawing
            with write_aside(folder / "figures" / f"{part.name}.png") as aside:
                aside.write_bytes(drawing.png)
            files = {f"figures/{part.name}.svg": drawing.svg, f"figures/{part.name}.csv": drawing.numbers}
        else:
            base = f"tables/{part.name}"
            files = {f"{base}.csv": part.csv(), f"{base}.md": part.markdown(), f"{base}.tex": part.latex()}
        for name, text in files.items():
            if text:
                _write(folder / name, text)
    # Last: it is there only if all that it was made with is.
    _write(folder / "index.html", page)
    return folder / "index.html"


def _write(path: Path, text: str) -> None:
    with write_aside(path) as aside:
        aside.write_text(text, encoding="utf-8")
