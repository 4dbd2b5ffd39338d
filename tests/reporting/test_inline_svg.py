import re
import xml.etree.ElementTree as ElementTree

import matplotlib
import numpy as np
import pytest
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from ddl_tf.reporting.inline_svg import inline_svg, on_white, shared_letters, svg
from ddl_tf.reporting.palette import PAGE, SERIES, TONES, css_variables, style, variable


def figure():
    made = Figure(figsize=(4, 3))
    FigureCanvasAgg(made)
    axes = made.subplots()
    axes.plot([0, 1], [0, 1], color=SERIES[0], label="a")
    axes.plot([0, 1], [1, 0], color="#123456")
    axes.legend()
    return made


def test_colours_follow_the_page():
    text = inline_svg(svg(figure()), "fig", "a line")
    assert f"stroke: var({variable(SERIES[0])})" in text
    # Text, and the frame.
    assert "var(--c000000)" in text
    assert "#123456" in text
    assert set(re.findall("#[0-9a-f]{6}", text)) == {"#123456"}


def test_it_is_one_element_without_name_spaces():
    text = inline_svg(svg(figure()), "fig", 'a "line" & <more>')
    root = ElementTree.fromstring(text)
    assert root.tag == "svg"
    assert root.get("aria-label") == 'a "line" & <more>'
    assert root.get("role") == "img"
    assert root.get("viewBox") == "0 0 288 216"
    assert "http" not in text
    assert "<style" not in text
    assert "<text" not in text


def references(text):
    return set(re.findall(r'href="#([^"]*)"', text)) | set(re.findall(r"url\(#([^)]*)\)", text))


def test_ids_are_of_the_figure_and_letters_are_shared():
    drawn = svg(figure())
    one, two = (inline_svg(drawn, name, "") for name in ("one", "two"))
    ids = [set(re.findall(r'\bid="([^"]*)"', text)) for text in (one, two, shared_letters([drawn, drawn]))]
    assert all(ids)
    assert not ids[0] & ids[1]
    assert not ids[2] & (ids[0] | ids[1])
    for text, own in zip((one, two), ids):
        assert references(text) <= own | ids[2]
        assert references(text) & ids[2]


def test_letters_are_those_of_the_figure():
    drawn = svg(figure())
    letters = ElementTree.fromstring(shared_letters([drawn]))
    shapes = {path.get("id"): " ".join(path.get("d").split()) for path in letters[0]}
    glyphs = re.findall(r'<path id="DejaVuSans-([^"]*)" d="([^"]*)"', drawn)
    assert shapes == {f"g-{name}": " ".join(shape.split()) for name, shape in glyphs}
    # "a", in the legend.
    assert "g-44" in shapes


def test_the_line_stays_where_it_was():
    full, short = svg(figure()), inline_svg(svg(figure()), "fig", "")
    pattern = r'd="M ([\d.]+) ([\d.]+)\s+L ([\d.]+) ([\d.]+)\s*" clip-path'
    places = [np.array(re.findall(pattern, text), float) for text in (full, short)]
    assert places[0].shape[0] >= 2
    assert np.abs(places[0] - places[1]).max() < 0.0051
    assert len(short) < len(full)


def test_alone_it_is_on_white():
    root = ElementTree.fromstring(on_white(svg(figure())))
    assert root[0].tag.endswith("rect")
    assert root[0].get("fill") == "#ffffff"


def test_equal_figures_give_equal_text_and_settings_stay():
    before = dict(matplotlib.rcParams)
    assert svg(figure()) == svg(figure())
    assert dict(matplotlib.rcParams) == before


def luminance(colour):
    channels = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [one / 12.92 if one <= 0.03928 else ((one + 0.055) / 1.055) ** 2.4 for one in channels]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def contrast(one, other):
    light, dark = sorted([luminance(one), luminance(other)], reverse=True)
    return (light + 0.05) / (dark + 0.05)


@pytest.mark.parametrize("dark", [False, True])
def test_series_stand_out_from_the_page(dark):
    """WCAG asks for 3 of graphics, 4.5 of text."""
    exempt = {"#ffffff", "#b0b0b0", "#cccccc"}
    weak = {
        drawn: contrast(tones[dark], PAGE[dark])
        for drawn, tones in TONES.items()
        if drawn not in exempt and contrast(tones[dark], PAGE[dark]) < 3
    }
    assert weak == {}
    assert contrast(TONES["#000000"][dark], PAGE[dark]) > 7


def test_models_differ_by_more_than_colour():
    seen = {(style(place).dash, style(place).marker) for place in range(10)}
    assert len(seen) == 10
    assert all(style(place).dash != style(place + 10).dash for place in range(10))
    assert all(style(place).marker != style(place + 10).marker for place in range(10))


def test_css_variables():
    light, dark = css_variables(dark=False), css_variables(dark=True)
    assert light.count(";") == dark.count(";") == len(TONES)
    assert f"{variable(SERIES[0])}: {TONES[SERIES[0]][1]};" in dark
