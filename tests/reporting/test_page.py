import re
from html.parser import HTMLParser

import matplotlib
import numpy as np
import pytest
from matplotlib.figure import Figure

from ddl_tf.reporting.layout_table import Strong, TextTable
from ddl_tf.reporting.page import Picture, Section, render_page, write_report

NASTY = "<script>alert('x')</script> & \"q\""


class Outline(HTMLParser):
    """The elements of a page, and whether they close as they should."""

    def __init__(self):
        super().__init__()
        self.open, self.elements, self.text = [], [], []

    def handle_starttag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))
        if tag not in ("meta", "img"):
            self.open.append(tag)

    def handle_startendtag(self, tag, attributes):
        self.elements.append((tag, dict(attributes)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def outline(page):
    parser = Outline()
    parser.feed(page)
    assert parser.open == []
    return parser


def picture(name, words="words"):
    figure = Figure(figsize=(3, 2))
    figure.subplots().plot([0, 1], [1, 0])
    return Picture(name, figure, f"alternative {words}", f"caption {words}")


def sections(words=NASTY):
    table = TextTable("numbers", f"table {words}", ["set", words], [[words, Strong(words)]])
    folded = TextTable("folded", "more", ["set"], [["a"]], folded=True)
    return [
        Section("one", f"First {words}", [f"A sentence {words}."], [picture("fig-a", words), table]),
        Section("empty", "Nothing"),
        Section("two", "Second", [], [picture("fig-b"), folded]),
    ]


@pytest.fixture(scope="module")
def page():
    return render_page(f"Title {NASTY}", f"Summary {NASTY}", sections())


def test_nothing_is_loaded_from_elsewhere_and_text_of_files_is_escaped(page):
    parsed = outline(page)
    assert not {tag for tag, _ in parsed.elements} & {"script", "link", "iframe", "object", "embed", "base", "form"}
    for tag, attributes in parsed.elements:
        for name in ("src", "href", "srcset", "data", "action", "poster"):
            assert attributes.get(name, "#").startswith("data:" if tag == "img" and name == "src" else "#")
    assert not [text for text in ("http:", "https:", "url(", "<script") if text in page]
    assert sum(NASTY in text for text in parsed.text) >= 8
    source, alternative = next((each["src"], each["alt"]) for tag, each in parsed.elements if tag == "img")
    assert (source, alternative) == (picture("fig-a").source, f"alternative {NASTY}")


def test_equal_figures_give_equal_text_with_coordinates_to_a_hundredth_and_settings_stay():
    before = dict(matplotlib.rcParams)
    made = picture("a")
    svg = made.drawing.svg
    assert svg == picture("b").drawing.svg
    assert "fill: #ffffff" in svg
    assert not [tag for tag in ("<text", "<script") if tag in svg]
    assert dict(matplotlib.rcParams) == before
    pixels = made.figure.axes[0].transData.transform([[0, 1], [1, 0]])
    points = pixels * 72 / made.figure.dpi * [1, -1] + [0, 144]
    lines = re.findall(r'd="M ([\d.]+) ([\d.]+)\s+L ([\d.]+) ([\d.]+)\s*" clip-path', svg)
    assert np.abs(np.array(lines, float) - points.ravel()).max(axis=1).min() < 0.0051


def test_contents_figures_and_tables_have_ids_and_words(page):
    elements = outline(page).elements
    ids = [attributes["id"] for _, attributes in elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    assert [attributes["href"][1:] for tag, attributes in elements if tag == "a"] == ["one", "one", "two"]
    assert "Nothing" not in page
    assert [tag for tag, _ in elements if tag in ("figcaption", "img")] == ["img", "figcaption"] * 2
    assert [attributes["scope"] for tag, attributes in elements if tag == "th"] == ["col", "col", "row", "col", "row"]
    assert [tag for tag, _ in elements if re.fullmatch("h[1-6]", tag)] == ["h1", "h2", "h2", "h2"]
    inside = page[page.index("<details>") : page.index("</details>")]
    assert "<summary>more</summary>" in inside
    assert '<table id="part-folded">' in inside


def test_files_beside_the_page_which_goes_first_when_it_is_made_again(tmp_path, monkeypatch):
    folder = tmp_path / "report"
    path = write_report(folder, "Title", "Summary", sections("w_1"))
    assert path == folder / "index.html"
    figures = [f"figures/fig-{letter}.{ending}" for letter in "ab" for ending in ("csv", "png", "svg")]
    tables = [f"tables/{name}.{ending}" for name in ("folded", "numbers") for ending in ("csv", "md", "tex")]
    assert sorted(str(file.relative_to(folder)) for file in folder.rglob("*.*")) == [*figures, "index.html", *tables]
    assert (folder / "figures" / "fig-a.png").read_bytes().startswith(b"\x89PNG")
    assert r"w\_1" in (folder / "tables" / "numbers.tex").read_text()
    assert path.read_text() == render_page("Title", "Summary", sections("w_1"))

    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(TextTable, "latex", stop)
    with pytest.raises(KeyboardInterrupt):
        write_report(folder, "Title", "Summary", sections("w_2"))
    assert not path.exists()
    assert (folder / "figures" / "fig-a.png").is_file()
