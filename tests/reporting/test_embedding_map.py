import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from ddl_tf.common.errors import InputError
from ddl_tf.reporting.embedding_map import PEOPLE, choose_images, embedding_map_figure
from ddl_tf.reporting.palette import SERIES


def tables(easy, hard):
    return pd.DataFrame({"person": easy}), pd.DataFrame({"person": hard})


def test_people_with_easy_and_hard_images_are_chosen_and_those_with_the_most_first():
    easy, hard = tables(["a", "a", "b", "c", None], ["b", "b", "a", "d"])
    chosen = choose_images(easy, hard, 100)
    assert (chosen.people, chosen.easy.tolist(), chosen.hard.tolist()) == (2, [0, 1, 2], [0, 1, 2])
    assert chosen.easy_person.tolist() == chosen.hard_person[[2, 2, 0]].tolist()
    people = [f"p{number}" for number in range(PEOPLE + 5)]
    chosen = choose_images(*tables(people + ["p14"] * 3, people), 100)
    assert chosen.people == PEOPLE
    assert 14 in chosen.hard
    # The count is halved, and people need not be known.
    easy, hard = tables(["a"] * 50, ["a"] * 50)
    chosen = choose_images(easy, hard, 20)
    assert len(chosen.easy) == len(chosen.hard) == 10
    with pytest.raises(InputError, match="tsne_images=3"):
        choose_images(easy, hard, 3)
    for unknown in ([pd.DataFrame({"key": range(30)})] * 2, tables(["a"] * 9, ["b"] * 9)):
        chosen = choose_images(*unknown, 10)
        assert (chosen.people, set(chosen.easy_person)) == (0, {-1})


def test_the_figure_has_colours_of_people_and_markers_of_sets():
    easy, hard = tables(["a", "b", "a"], ["b", "a"])
    chosen = choose_images(easy, hard, 10)
    places = np.arange(10.0).reshape(5, 2)
    figure = embedding_map_figure({"A": places, "B": 2 * places}, chosen, "ff", "fp")
    assert [axes.get_title() for axes in figure.axes] == ["A", "B"]
    first, second = figure.axes[1].collections
    assert np.array_equal(first.get_offsets(), 2 * places[:3])
    assert np.array_equal(second.get_offsets(), 2 * places[3:])
    assert [to_hex(colour) for colour in first.get_facecolors()] == [SERIES[number] for number in chosen.easy_person]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["ff (3 images)", "fp (2 images)"]
