"""One HTML page from sections of sentences, tables and pictures; and the same pictures and tables as files."""

import dataclasses
import functools
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Union

import jinja2
from matplotlib.figure import Figure

from ddl_tf.common.files import write_aside
from ddl_tf.reporting.inline_svg import inline_svg, on_white, shared_letters, svg
from ddl_tf.reporting.layout_table import TextTable
from ddl_tf.reporting.palette import PAGE, css_variables

_DPI = 150


@dataclasses.dataclass(frozen=True)
class Picture:
    """A figure of the page.

    Attributes:
        name: of its files and its anchor: letters, digits, `-`, `_` and `.`; unique in the report.
        figure: to draw.
        alternative: what it shows, in words, for those who do not see it.
        caption: what its numbers mean.
    """

    name: str
    figure: Figure
    alternative: str
    caption: str

    @functools.cached_property
    def svg(self) -> str:
        """The figure as SVG, see `inline_svg.svg`."""
        drawn = svg(self.figure)
        # Everything has its place now; to find it again for each file takes longer than to draw.
        self.figure.set_layout_engine("none")
        return drawn


@dataclasses.dataclass(frozen=True)
class Section:
    """A part of the page with a heading.

    Attributes:
        name: its anchor; pictures and tables may have the same name, theirs begins with `part-`.
        title: its heading.
        sentences: a paragraph each, above the rest.
        parts: pictures and tables, in order.
    """

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
    environment.filters["inline"] = lambda picture: inline_svg(picture.svg, picture.name, picture.alternative)
    return environment.get_template("page.html.j2").render(
        title=title,
        summary=summary,
        sections=[one for one in sections if one.sentences or one.parts],
        light=css_variables(dark=False),
        dark=css_variables(dark=True),
        page=PAGE,
        letters=shared_letters([part.svg for part in _parts(sections) if isinstance(part, Picture)]),
    )


def _parts(sections: Sequence[Section]) -> Iterator[Union[Picture, TextTable]]:
    for section in sections:
        yield from section.parts


def write_report(folder: Path, title: str, summary: str, sections: Sequence[Section]) -> Path:
    """Write the page `index.html`, and `figures/NAME.png` and `.svg`, `tables/NAME.csv`, `.md` and `.tex`."""
    page = render_page(title, summary, sections)
    # A page of before would say that the new figures are its own.
    (folder / "index.html").unlink(missing_ok=True)
    for part in _parts(sections):
        if isinstance(part, Picture):
            files = {f"figures/{part.name}.svg": on_white(part.svg)}
            with write_aside(folder / "figures" / f"{part.name}.png") as aside:
                part.figure.savefig(aside, dpi=_DPI, facecolor="white")
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
