import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_hex

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.embed import unit
from ddl_tf.reporting.embedding_map import PEOPLE, choose_images, embedding_map_figure, map_embeddings
from ddl_tf.reporting.palette import SERIES


def tables(easy, hard):
    return pd.DataFrame({"person": easy}), pd.DataFrame({"person": hard})


def test_people_with_easy_and_hard_images_are_chosen_and_those_with_the_most_first():
    easy, hard = tables(["a", "a", "b", "c", None], ["b", "b", "a", "d"])
    chosen = choose_images(easy, hard, 100)
    assert chosen.people == 2
    assert chosen.easy.tolist() == [0, 1, 2]
    assert chosen.hard.tolist() == [0, 1, 2]
    names = [[frame["person"][row] for row in rows] for frame, rows in ((easy, chosen.easy), (hard, chosen.hard))]
    number_of = dict(zip(names[0] + names[1], [*chosen.easy_person, *chosen.hard_person]))
    assert sorted(number_of.values()) == [0, 1]
    people = [f"p{number}" for number in range(PEOPLE + 5)]
    easy, hard = tables(people + ["p14"] * 3, people)
    chosen = choose_images(easy, hard, 100)
    assert chosen.people == PEOPLE
    assert 14 in chosen.hard


def test_the_count_is_halved_and_people_need_not_be_known():
    easy, hard = tables(["a"] * 50, ["a"] * 50)
    chosen = choose_images(easy, hard, 20, seed=1)
    assert len(chosen.easy) == len(chosen.hard) == 10
    again, other = choose_images(easy, hard, 20, seed=1), choose_images(easy, hard, 20, seed=2)
    assert chosen.easy.tolist() == again.easy.tolist() != other.easy.tolist()
    with pytest.raises(InputError, match="tsne_images=3"):
        choose_images(easy, hard, 3)
    plain = pd.DataFrame({"key": range(30)})
    chosen = choose_images(plain, plain, 20)
    assert chosen.people == 0
    assert set(chosen.easy_person) == {-1}
    # The same without a person in common.
    assert choose_images(*tables(["a"] * 9, ["b"] * 9), 10).people == 0


def test_near_embeddings_stay_near():
    rng = np.random.default_rng(0)
    label = np.repeat([0, 1, 2], 20)
    places = map_embeddings(unit(np.eye(3)[label] + 0.05 * rng.normal(size=[60, 3])), seed=0)
    centers = np.array([places[label == number].mean(axis=0) for number in range(3)])
    nearest = np.argmin(np.linalg.norm(places[:, np.newaxis] - centers, axis=2), axis=1)
    assert np.array_equal(nearest, label)


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
