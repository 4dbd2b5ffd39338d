"""A figure as SVG inside a page, whose colours follow the page's light or dark style."""

import io
import re
from collections.abc import Sequence

import matplotlib
from markupsafe import Markup, escape
from matplotlib.figure import Figure

from ddl_tf.reporting.palette import TONES, variable

# What letters look like, of Matplotlib's own font: the same in all figures.
_GLYPH = re.compile(r'<path id="DejaVuSans-([^"]*)"([^>]*)/>')
_PATH = re.compile(r' (d|x|y)="([^"]*)"')
_LONG = re.compile(r"-?\d+\.\d{3,}")
_LETTER = re.compile(r'(<use href="#g-[^"]*" transform="translate\()([^)]*)\)')
_COLOUR = re.compile(r"#[0-9a-f]{6}\b")
_POINTS_A_PIXEL = 0.75


def svg(figure: Figure) -> str:
    """Draw a figure as SVG with nothing behind it, text as shapes, so that it looks the same without our fonts.

    Args:
        figure: to draw.

    Returns:
        The file's text; the same figure gives the same text.
    """
    file = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "path", "svg.hashsalt": "ddl_tf"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    return file.getvalue()


def on_white(drawn: str) -> str:
    """Put white behind a figure, for a file of its own.

    Args:
        drawn: of `svg`.

    Returns:
        The file's text.
    """
    return re.sub(
        r"(<svg\b.*?>)", r'\1<rect width="100%" height="100%" fill="#ffffff"/>', drawn, count=1, flags=re.DOTALL
    )


def _shorter(coordinates: str) -> str:
    """Coordinates to a hundredth of a point, which nobody sees: half of the size."""
    return " ".join(_LONG.sub(lambda number: f"{float(number[0]):.2f}".rstrip("0").rstrip("."), coordinates).split())


def inline_svg(drawn: str, name: str, alternative: str) -> Markup:
    """Make an SVG file a part of an HTML page.

    Colours of `palette.TONES` become CSS variables; nothing is drawn behind the figure. Its letters are references to
    `shared_letters`, which the page must hold once.

    Args:
        drawn: of `svg`.
        name: unique on the page: `id`s of figures must not clash.
        alternative: what the figure shows, in words, for those who do not see it.

    Returns:
        The `<svg>` element.
    """
    text = drawn[drawn.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # Matplotlib's own style sheet would be the whole page's.
    text = re.sub(r"<style.*?</style>", "", text, flags=re.DOTALL)
    text = _GLYPH.sub("", re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL))
    text = text.replace('xlink:href="#DejaVuSans-', 'href="#g-')
    text = _LETTER.sub(lambda found: f"{found[1]}{_shorter(found[2])})", text)
    text = re.sub(r'\bid="', f'id="{name}-', text)
    # HTML knows SVG without name spaces.
    text = re.sub(r'xlink:href="#', f'href="#{name}-', text)
    text = re.sub(r"url\(#", f"url(#{name}-", text)
    text = _COLOUR.sub(lambda found: f"var({variable(found[0])})" if found[0] in TONES else found[0], text)
    text = _PATH.sub(lambda found: f' {found[1]}="{_shorter(found[2])}"', text)
    text = re.sub(r"\n\s*", "\n", text)
    # In points, as Matplotlib's coordinates.
    found = re.search(r'viewBox="0 0 ([\d.]+) [\d.]+"', text)
    if not found:
        raise ValueError("an SVG file without viewBox")
    root = (
        f'<svg role="img" aria-label="{escape(alternative)}" {found[0]} '
        f'style="width: {float(found[1]) / _POINTS_A_PIXEL:.0f}px">'
    )
    return Markup(re.sub(r"<svg.*?>", lambda _: root, text, count=1, flags=re.DOTALL).strip())


def shared_letters(drawings: Sequence[str]) -> Markup:
    """Gather what the letters of figures look like, which is a third of a page if each figure has its own.

    Args:
        drawings: of `svg`.

    Returns:
        An `<svg>` element that shows nothing.
    """
    letters = {name: shape for drawn in drawings for name, shape in _GLYPH.findall(drawn)}
    paths = "\n".join(f'<path id="g-{name}" {" ".join(shape.split())}/>' for name, shape in sorted(letters.items()))
    return Markup(f'<svg class="letters" aria-hidden="true" width="0" height="0"><defs>\n{paths}\n</defs></svg>')
