import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.reporting import bins
from ddl_tf.reporting.palette import styles_of

RANK = np.array([1, 1, 2, 0, 1, 7, 1, 3])
CONDITION = np.array(["d1", "d1", "d1", "d1", "d2", "d2", "d2", "d2"])
VALUES = np.array([5.0, -40.0, 20.0, np.nan])
FIRST, SECOND = np.array([0, 1, 2, 3]), np.array([1, 2, 0, 0])


def test_the_worse_of_the_two_images():
    assert bins.pair_values(VALUES, FIRST, SECOND, "measured_yaw")[:3].tolist() == [40, 40, 20]
    assert bins.pair_values(VALUES, FIRST, SECOND, "resolution_px")[:3].tolist() == [-40, -40, 5]
    assert np.isnan(bins.pair_values(np.array([1.0, np.inf]), FIRST[:1], SECOND[:1], "yaw"))
    harder = {"age": True, "average": False, "distance": True, "eye_distance_px": False, "misfit_px": True}
    assert {column: bins.more_is_harder(column) for column in harder} == harder


def test_bins_hold_equal_counts_and_do_not_cut_equal_values_apart():
    values = np.random.default_rng(0).permutation(np.arange(100.0))
    edges = bins.bin_edges(values)
    assert len(edges) == 6
    assert np.histogram(values, edges)[0].tolist() == pytest.approx([20] * 5, abs=1)
    for values, edges in (([1.0] * 90 + [2.0] * 10, [1, 2]), ([3.0, 3.0, np.nan], [3, 3]), ([np.nan], [])):
        assert bins.bin_edges(np.array(values)).tolist() == edges
    similarity, same = np.array([0.9, 0.8, 0.7, 0.6, 0.5, 0.4]), np.arange(6) % 2 == 0
    # At 0.7 one of three different pairs is accepted; a third is allowed.
    assert bins.threshold_at_far(similarity, same, 0.34) == 0.7
    assert bins.threshold_at_far(similarity, same, 0.3) == 0.9


def naive_wilson(hits, count, z=1.959963984540054):
    rate = hits / count
    middle = (rate + z * z / (2 * count)) / (1 + z * z / count)
    half = z * np.sqrt(rate * (1 - rate) / count + z * z / (4 * count**2)) / (1 + z * z / count)
    return middle - half, middle + half


def test_the_table_is_the_count():
    rng = np.random.default_rng(1)
    same = rng.random(400) < 0.5
    similarity = rng.normal(size=400) + same
    values = np.where(rng.random(400) < 0.05, np.nan, rng.uniform(0, 90, 400))
    edges = bins.bin_edges(values)
    table = bins.bin_table(similarity, same, values, 0.5, edges)
    threshold = bins.threshold_at_far(similarity, same)
    assert np.mean(similarity[~same] >= threshold) <= 0.01
    assert table["pairs"].sum() == np.isfinite(values).sum()
    for place, row in table.iterrows():
        last = place == len(table) - 1
        inside = (values >= row["low"]) & ((values <= row["high"]) if last else (values < row["high"]))
        right = np.sum(((similarity > 0.5) == same)[inside])
        accepted = np.sum((similarity >= threshold)[inside & same])
        assert row["same"] == np.sum(inside & same)
        assert row["accuracy"] == right / inside.sum()
        assert row["tar"] == accepted / np.sum(inside & same)
        assert (row["accuracy_low"], row["accuracy_high"]) == pytest.approx(naive_wilson(right, inside.sum()))
        assert (row["tar_low"], row["tar_high"]) == pytest.approx(naive_wilson(accepted, np.sum(inside & same)))


def test_the_figure_shows_the_table():
    similarity, same = np.array([0.9, 0.8, 0.1, 0.2]), np.array([True, True, False, False])
    edges = np.array([0.0, 5, 1200])
    tables = {
        model: bins.bin_table(similarity, same, np.array(values), 0.5, edges)
        for model, values in {"A": [1.0, 1, 9, 9], "B": [1.0, 9, 1, 9]}.items()
    }
    # No same pair in the second bin of A.
    assert tables["A"]["tar"].tolist() == pytest.approx([1, np.nan], nan_ok=True)
    figure = bins.bins_figure("yaw", tables, "", styles_of(tables))
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["[0, 5)\n2 pairs\n2 same", "[5, 1,200]\n2 pairs\n0 same"]
    for axes, name in zip(figure.axes, ("accuracy", "tar")):
        assert axes.get_xlabel() == "larger |yaw| of the two"
        points, _, (bars,) = axes.containers[1]
        assert points.get_ydata() == pytest.approx(tables["B"][name].to_numpy())
        ends = np.array(bars.get_segments())[:, :, 1]
        assert ends == pytest.approx(tables["B"][[f"{name}_low", f"{name}_high"]].to_numpy())
    empty = bins.bin_table(similarity, same, np.full(4, np.nan), 0.5, np.empty(0))
    with pytest.raises(InputError, match="yaw: no pair has a value"):
        bins.bins_figure("yaw", {"A": empty}, "", styles_of("A"))


def test_rank1_by_condition():
    table = bins.rank1_table(RANK, CONDITION)
    assert table["condition"].tolist() == ["d1", "d2"]
    assert table["probes"].tolist() == [4, 4]
    assert table["rank1"].tolist() == [0.5, 0.5]
    # Wilson's interval of 2 out of 4.
    assert table[["low", "high"]].to_numpy()[0] == pytest.approx([0.15004, 0.84996], abs=1e-4)
    # A person is drawn with all probes, and both draws may be of the same person.
    half = np.repeat([1, 2], 20)
    table = bins.rank1_table(half, np.full(40, ""), person=half, replicates=200)
    assert table[["low", "high"]].to_numpy()[0].tolist() == [0, 1]


def test_the_figure_of_ranks_shows_curve_and_conditions():
    ranks = {"A": RANK, "B": np.ones(8, int)}
    tables = {name: bins.rank1_table(rank, CONDITION) for name, rank in ranks.items()}
    curve, conditions = bins.identification_figure("scface", ranks, tables, styles_of(ranks)).axes
    for line, rank in zip(curve.lines, ranks.values()):
        assert line.get_xdata().tolist() == list(range(1, 8))
        assert line.get_ydata().tolist() == [np.mean([0 < place <= k for place in rank]) for k in range(1, 8)]
    assert [container[0].get_ydata().tolist() for container in conditions.containers] == [[0.5, 0.5], [1, 1]]
    assert [tick.get_text() for tick in conditions.get_xticklabels()] == ["d1\n4 probes", "d2\n4 probes"]
    # One condition alone has no panel.
    tables = {"A": bins.rank1_table(RANK, np.full(8, ""))}
    assert len(bins.identification_figure("tinyface", {"A": RANK}, tables, styles_of("A")).axes) == 1
