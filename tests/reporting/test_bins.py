import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.reporting import bins
from ddl_tf.reporting.palette import styles_of

VALUES = np.array([5.0, -40.0, 20.0, np.nan])
FIRST, SECOND = np.array([0, 1, 2, 3]), np.array([1, 2, 0, 0])


def test_the_worse_of_the_two_images():
    assert bins.pair_values(VALUES, FIRST, SECOND, "measured_yaw")[:3].tolist() == [40, 40, 20]
    assert bins.pair_values(VALUES, FIRST, SECOND, "resolution_px")[:3].tolist() == [-40, -40, 5]
    assert np.isnan(bins.pair_values(VALUES, FIRST, SECOND, "yaw")[3])
    assert np.isnan(bins.pair_values(np.array([1.0, np.inf]), FIRST[:1], SECOND[:1], "yaw"))
    columns = ("yaw", "age", "average", "measured_contrast")
    assert [bins.more_is_harder(column) for column in columns] == [True, True, False, False]


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


def test_bins_without_same_pairs_or_values():
    similarity, same = np.array([0.9, 0.8, 0.1, 0.2]), np.array([True, True, False, False])
    table = bins.bin_table(similarity, same, np.array([1.0, 1, 9, 9]), 0.5, np.array([0.0, 5, 10]))
    assert table["tar"].tolist()[0] == 1
    assert np.isnan(table["tar"][1])
    assert table["accuracy"].tolist() == [1, 1]
    empty = bins.bin_table(np.array([1.0, 0.0]), np.array([True, False]), np.array([np.nan] * 2), 0.5, np.empty(0))
    with pytest.raises(InputError, match="yaw: no pair has a value"):
        bins.bins_figure("yaw", {"A": empty}, "", styles_of("A"))


def test_the_figure_shows_the_table():
    tables = {}
    for number, model in enumerate(("A", "B")):
        table = pd.DataFrame({"low": [0.0, 10.5], "high": [10.5, 1200.0], "pairs": [30, 31], "same": [10, 9]})
        for name in ("accuracy", "tar"):
            table[name] = [0.9, 0.8 - 0.1 * number]
            table[f"{name}_low"], table[f"{name}_high"] = table[name] - 0.1, table[name] + 0.05
        tables[model] = table
    figure = bins.bins_figure("yaw", tables, "", styles_of(tables))
    labels = [tick.get_text() for tick in figure.axes[0].get_xticklabels()]
    assert labels == ["[0, 10)\n30 pairs\n10 same", "[10, 1,200]\n31 pairs\n9 same"]
    for axes, name in zip(figure.axes, ("accuracy", "tar")):
        assert axes.get_xlabel() == "larger |yaw| of the two"
        for container, table in zip(axes.containers, tables.values()):
            points, _, (bars,) = container
            assert points.get_ydata() == pytest.approx(table[name].to_numpy())
            ends = np.array(bars.get_segments())[:, :, 1]
            assert ends == pytest.approx(table[[f"{name}_low", f"{name}_high"]].to_numpy())
