import numpy as np

from ddl_tf.reporting.palette import SERIES, style


def luminance(colour):
    channels = [int(colour[start : start + 2], 16) / 255 for start in (1, 3, 5)]
    linear = [value / 12.92 if value <= 0.03928 else ((value + 0.055) / 1.055) ** 2.4 for value in channels]
    return np.dot([0.2126, 0.7152, 0.0722], linear)


def test_series_stand_out_from_white():
    """WCAG asks for a contrast of 3 of graphics."""
    contrast = {colour: 1.05 / (luminance(colour) + 0.05) for colour in SERIES}
    assert {colour for colour, value in contrast.items() if value < 3} == set()


def test_models_differ_by_more_than_colour():
    styles = [style(position) for position in range(20)]
    assert len({(each.dash, each.marker) for each in styles[:10]}) == 10
    for first, again in zip(styles, styles[10:]):
        assert [first.colour == again.colour, first.dash == again.dash, first.marker == again.marker] == [1, 0, 0]
