import numpy as np
import pytest
from matplotlib.figure import Figure

from ddl_tf.reporting.figure_data import figure_data


@pytest.fixture
def axes():
    return Figure().subplots()


def test_lines_of_each_panel():
    figure = Figure()
    left, right = figure.subplots(1, 2)
    left.plot([1, 2], [3, 4], label="ArcFace")
    left.set(title="ROC", ylabel="TAR", xscale="log")
    right.step([0, 1], [0.5, 0.25], where="post", label="DDL")
    right.axvline(0.3)
    right.set(ylabel="FNIR")
    data = figure_data(figure)
    assert data.fillna("").values.tolist() == [
        ["ROC, TAR", "ArcFace", "line", 1, 3],
        ["ROC, TAR", "ArcFace", "line", 2, 4],
        ["FNIR", "DDL", "line", 0, 0.5],
        ["FNIR", "DDL", "line", 1, 0.25],
        ["FNIR", "", "mark", 0.3, ""],
    ]


def test_lines_across_a_panel(axes):
    axes.plot([0, 1], [2, 3], label="DDL")
    axes.axvline(0.5)
    axes.axhline(2.5, label="chance")
    marks = figure_data(axes.figure).query("kind == 'mark'")
    assert marks[["series", "x", "y"]].fillna("").values.tolist() == [["", 0.5, ""], ["chance", "", 2.5]]


def test_points_with_bars_at_named_places(axes):
    values, low, high = np.array([0.5, np.nan, 0.7]), np.array([0.4, np.nan, 0.6]), np.array([0.6, np.nan, 0.9])
    axes.errorbar([-0.1, 0.9, 1.9], values, [values - low, high - values], label="DDL", capsize=3)
    axes.set_xticks([0, 1, 2], ["near\n1 m", "farther", "far"])
    data = figure_data(axes.figure)
    assert data["x_name"].tolist() == ["near 1 m", "far"]
    np.testing.assert_allclose(data[["y", "y_low", "y_high"]], [[0.5, 0.4, 0.6], [0.7, 0.6, 0.9]])
    assert set(data["series"]) == {"DDL"}


def test_bars_along_x(axes):
    axes.errorbar([1.0], [2.0], xerr=[[0.25], [0.5]], label="DDL")
    assert figure_data(axes.figure)[["x", "y", "x_low", "x_high"]].values.tolist() == [[1, 2, 0.75, 1.5]]


def test_a_band_has_the_name_of_its_line(axes):
    axes.plot([1, 2, 3], [5, 6, 7], color="#123456", label="DDL")
    axes.fill_between([1, 2, 3], [4, 5, 6], [6, 8, 9], color="#123456", alpha=0.15)
    band = figure_data(axes.figure).query("kind == 'band'")
    assert band[["series", "x", "y_low", "y_high"]].values.tolist() == [
        ["DDL", 1, 4, 6],
        ["DDL", 2, 5, 8],
        ["DDL", 3, 6, 9],
    ]


def test_histograms_points_and_matrices():
    figure = Figure()
    bars, outline, points, matrix, picture = figure.subplots(1, 5)
    heights, edges, _ = bars.hist([0.1, 0.2, 0.7], bins=[0, 0.5, 1], label="same")
    outline.hist([0.1, 0.2, 0.7], bins=[0, 0.5, 1], histtype="stepfilled", label="same")
    points.scatter([1, 2], [3, 4], label="p1")
    matrix.imshow([[0.1, 0.2], [0.3, 0.4]])
    matrix.set_xticks([0, 1], ["young", "old"])
    picture.imshow(np.zeros([4, 4, 3]))
    data = figure_data(figure)
    drawn = data.query("kind == 'bars'")
    np.testing.assert_array_equal(drawn["y"], heights)
    np.testing.assert_array_equal(drawn[["x_low", "x_high"]], np.stack([edges[:-1], edges[1:]], axis=1))
    assert data.query("kind == 'outline'")["y"].max() == 2
    assert data.query("kind == 'points'")[["series", "x", "y"]].values.tolist() == [["p1", 1, 3], ["p1", 2, 4]]
    cells = data.query("kind == 'cell'")
    assert cells["value"].tolist() == [0.1, 0.2, 0.3, 0.4]
    assert cells["x_name"].tolist() == ["young", "old"] * 2
    assert len(data) == len(drawn) + len(data.query("kind == 'outline'")) + 2 + 4
