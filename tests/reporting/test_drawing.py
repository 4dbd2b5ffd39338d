import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from ddl_tf.reporting import drawing
from ddl_tf.reporting.drawing import draw, draw_all


def figure(number):
    figure = Figure(figsize=(3, 2), layout="constrained")
    axes = figure.subplots()
    axes.plot([0, 1], [number, 0], label=f"model {number}")
    axes.set_yticks([number], [f"a long name of a place on the axis {number}"], fontsize=6)
    axes.set_xlim(0, 1)
    axes.set_xscale("function", functions=(np.sqrt, np.square))
    axes.legend()
    return figure


def test_everything_is_inside_of_the_picture_and_has_its_place_in_both_files():
    made = figure(1)
    before = made.axes[0].get_position().bounds
    drawn = draw(made)
    assert made.axes[0].get_position().bounds[0] > before[0]
    pixels = np.asarray(Image.open(io.BytesIO(drawn.png)).convert("L"))
    assert pixels.shape == (2 * 150, 3 * 150)
    edges = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    assert edges.min() == 255 > pixels.min()
    assert drawn.numbers.splitlines()[1].split(",")[1:3] == ["model 1", "line"]
    # A second time everything is where it was.
    assert draw(made) == drawn


def test_processes_draw_the_same_in_the_same_order(monkeypatch):
    monkeypatch.setattr(drawing, "usable_cores", lambda: 2)
    alone = [draw(figure(number)) for number in range(1, 8)]
    assert len(set(alone)) == len(alone)
    assert draw_all(map(figure, range(1, 8)), many=True) == alone


@pytest.mark.parametrize("many, cores", [(False, 8), (True, 1)])
def test_few_figures_or_one_core_take_no_process(many, cores, monkeypatch):
    monkeypatch.setattr(drawing, "usable_cores", lambda: cores)
    monkeypatch.setattr(drawing, "spawned_processes", None)
    monkeypatch.setattr(drawing, "draw", lambda figure: figure)
    assert draw_all(iter(range(9)), many) == list(range(9))


def test_an_error_while_figures_are_made_ends_the_processes(monkeypatch):
    monkeypatch.setattr(drawing, "usable_cores", lambda: 2)

    def figures():
        yield figure(1)
        raise ValueError("no more")

    with pytest.raises(ValueError, match="no more"):
        draw_all(figures(), many=True)
