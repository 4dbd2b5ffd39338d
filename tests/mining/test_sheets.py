import numpy as np
import pandas as pd
import pytest
from matplotlib.colors import to_rgba
from tiny_store import stored

from ddl_tf.data.sampling import Rows
from ddl_tf.evaluation.plots import EASY, HARD
from ddl_tf.mining.sheets import batch_sheet, contact_sheet, distribution_figure


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    return stored(tmp_path_factory.mktemp("faces") / "set", count=30)


GROUP = np.array([0] * 12 + [1] * 8 + [-1] * 10)


def texts(figure):
    return [text.get_text() for text in figure.texts]


def rows_of(words):
    return {name: words[words.index(name) + 1] for name in words if "(group" in name or name == "noise"}


def test_each_group_has_a_row_of_its_own_images(faces, monkeypatch):
    columns = pd.DataFrame({"place": np.arange(30)})
    figure = contact_sheet(faces, GROUP, "my groups", columns=columns, per_group=5)
    words = texts(figure)
    assert words[0] == "my groups"
    counts = {"easy (group 0)": "12 images", "hard (group 1)": "8 images", "none (group -1)": "10 images"}
    assert rows_of(words) == counts
    values = [int(text) for text in words if text.isdigit()]
    assert len(set(values)) == 15
    assert GROUP[values].tolist() == [0] * 5 + [1] * 5 + [-1] * 5
    assert words.count("place") == 3
    assert len({round(axes.get_position().y0, 4) for axes in figure.axes}) == 3
    for axes, row in zip(figure.axes, values):
        np.testing.assert_array_equal(axes.images[0].get_array(), faces.image(row))
    again, others = (contact_sheet(faces, GROUP, columns=columns, per_group=5, seed=seed) for seed in (0, 1))
    assert texts(again) == words[1:] != texts(others)
    read = faces.read
    monkeypatch.setattr(faces, "read", lambda rows: [b"no image"] if rows[0] == 3 else read(rows))
    figure = contact_sheet(faces, GROUP, per_group=12)
    assert [axes.texts[0].get_text() for axes in figure.axes if axes.texts] == ["row 3\nis damaged"]
    assert sum(len(axes.images) for axes in figure.axes) == 29


def test_noise_several_students_and_empty_groups(faces, tmp_path):
    noise = np.isin(np.arange(30), [0, 13, 25, 26])
    words = texts(contact_sheet(faces, GROUP, noise=noise, per_group=1))
    assert rows_of(words) == {
        **{"easy (group 0)": "11 images", "hard (group 1)": "7 images", "noise": "4 images"},
        "none (group -1)": "8 images",
    }
    words = texts(contact_sheet(faces, np.where(np.arange(30) == 4, 3, 0), per_group=1))
    names = [f"hard (group {number})" for number in (1, 2, 3)]
    assert rows_of(words) == {"easy (group 0)": "29 images", **dict(zip(names, ("no images", "no images", "1 image")))}
    values = [np.nan, 1234.56, 0.123456, 5.0, 5, -3.25] * 5
    columns = pd.DataFrame({"x": values, "name": ["a long occluder's name"] * 30})
    figure = contact_sheet(faces, np.full(30, -1), columns=columns, per_group=30)
    assert {"none", "1,235", "0.123", "5", "-3.25", "a long occlude"} <= set(texts(figure))
    figure.savefig(tmp_path / "sheet.png")
    assert (tmp_path / "sheet.png").read_bytes().startswith(b"\x89PNG")
    for wrong in ({"group": GROUP[:5]}, {"noise": np.zeros(3, bool)}, {"columns": pd.DataFrame({"x": [1]})}):
        with pytest.raises(ValueError, match="30"):
            contact_sheet(faces, **{"group": GROUP, **wrong})
    with pytest.raises(ValueError, match="30"):
        distribution_figure(faces.index, GROUP[:5], ["identity"])


def test_histograms_are_shares_of_each_group():
    index = pd.DataFrame({"yaw": np.r_[np.zeros(12), np.full(6, 40.0), np.full(2, 80.0), np.linspace(0, 80, 10)]})
    figure = distribution_figure(index, GROUP, ["yaw"], {"yaw": [20, 45]})
    (axes,) = figure.axes
    assert axes.get_title() == "yaw"
    assert [line.get_xdata()[0] for line in axes.lines] == [20, 45]
    assert [text.get_text() for text in axes.texts] == ["20", "45"]
    labels = [text.get_text() for text in figure.legends[0].get_texts()]
    assert labels == ["easy (group 0), 12 images", "hard (group 1), 8 images", "none (group -1), 10 images"]
    heights = {patch.get_edgecolor(): patch.get_path().vertices[:, 1].max() for patch in axes.patches}
    assert heights[to_rgba(EASY)] == pytest.approx(1)
    assert heights[to_rgba(HARD)] == pytest.approx(0.75)


def test_wild_values_do_not_squeeze_the_others_and_are_counted():
    values = np.random.default_rng(0).normal(0, 1, 1000)
    values[:2] = 1e6, -1e6
    figure = distribution_figure(pd.DataFrame({"x": values}), np.arange(1000) % 2, ["x"])
    (axes,) = figure.axes
    low, high = axes.get_xlim()
    assert -5 < low < -1 < 1 < high < 5
    beyond = int(np.sum((values < low) | (values > high)))
    assert beyond >= 2
    assert axes.get_xlabel() == f"{beyond} beyond, in the bins at the ends"
    # A threshold beyond the values is seen.
    (axes,) = distribution_figure(pd.DataFrame({"x": np.arange(30.0)}), GROUP, ["x"], {"x": [90]}).axes
    assert axes.get_xlim()[1] > 90


def test_odd_columns_can_be_drawn(tmp_path):
    columns = {
        "constant": np.full(30, 7.0),
        "missing": np.full(30, np.nan),
        "group missing": np.r_[np.full(12, np.nan), np.arange(18.0)],
        "infinite": np.full(30, np.inf),
        "nullable": pd.array([1, None] * 15, dtype="Int64"),
        "bool": np.arange(30) % 2 == 0,
        "text": ["a", None, "b"] * 10,
        "nothing": [None] * 30,
        "occluder": ["none"] * 12 + ["mask"] * 6 + ["cap"] * 2 + ["none"] * 10,
    }
    figure = distribution_figure(pd.DataFrame(columns), GROUP, list(columns), dict.fromkeys(columns, (5,)))
    figure.savefig(tmp_path / "plot.png")
    missing = (0, 30, 12, 30, 15, 0, 10, 30, 0)
    titles = [name + (f" ({count} without a value)" if count else "") for name, count in zip(columns, missing)]
    assert [axes.get_title() for axes in figure.axes] == titles
    # Text is drawn as shares of the commonest.
    assert [label.get_text() for label in figure.axes[-1].get_xticklabels()] == ["none", "mask", "cap"]
    heights = np.array([bar.get_height() for bar in figure.axes[-1].patches]).reshape(3, 3)
    np.testing.assert_allclose(heights, [[1, 0, 0], [0, 0.75, 0.25], [1, 0, 0]])


ROWS = Rows(
    record=np.arange(9),
    identity=np.array([5, 1, 5, 2, 7, 7, 3, 8, 8]),
    group=np.array([0, 0, 0, 1, 1, 1, 1, -1, -1]),
    label=np.array([-1, 1, -1, 2, -1, -1, 3, 8, 8]),
)
IMAGES = np.arange(9)[:, None, None, None] * np.ones([9, 8, 8, 3])


def shown(figure):
    """The rows of each line from the top, with whether each is framed."""
    lines = {}
    for axes in figure.axes:
        row = int(axes.images[0].get_array()[0, 0, 0])
        lines.setdefault(-round(axes.get_position().y0, 4), []).append((row, axes.spines["left"].get_visible()))
    return [lines[top] for top in sorted(lines)]


def test_pairs_stand_beside_each_other_and_classified_rows_are_framed():
    figure = batch_sheet(IMAGES, ROWS)
    assert [[row for row, _ in line] for line in shown(figure)] == [[0, 2], [1], [4, 5], [3, 6], [7, 8]]
    framed = [{framed for _, framed in line} for line in shown(figure)]
    assert framed == [{False}, {True}, {False}, {True}, {True}]
    assert texts(figure) == [
        "9 rows, 5 of them classified (framed)",
        "group 0, easy\npairs: 1",
        "group 0, easy\nsingle rows: 1",
        "group 1, hard\npairs: 1",
        "group 1, hard\nsingle rows: 2",
        "no group\nsingle rows: 2",
    ]
    assert [len(line) for line in shown(batch_sheet(IMAGES, ROWS, most=1))] == [2, 1, 2, 1, 1]
