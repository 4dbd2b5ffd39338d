import numpy as np
import pandas as pd
import pytest
from generated_evaluations import write_run

from ddl_tf.common.errors import InputError
from ddl_tf.reporting.curves import curves_figure, curves_section, groups_figure, read_runs
from ddl_tf.reporting.page import Picture
from ddl_tf.reporting.palette import styles_of


def test_a_panel_for_each_column_and_a_line_for_each_run_that_has_it():
    logs = {
        "A": pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0], "lfw/auc": [np.nan, 0.9, np.nan]}),
        "B": pd.DataFrame({"epoch": [1, 2], "loss": [4.0, 3.5], "gap": [0.3, 0.2], "never": [np.nan, np.nan]}),
    }
    figure = curves_figure(logs, styles_of(logs))
    panels = {axes.get_title(): axes.lines for axes in figure.axes if axes.get_visible()}
    assert list(panels) == ["loss", "lfw/auc", "gap"]
    assert [line.get_ydata().tolist() for line in panels["loss"]] == [[3, 2, 1], [4, 3.5]]
    (line,) = panels["lfw/auc"]
    assert (line.get_xdata().tolist(), line.get_ydata().tolist()) == ([2], [0.9])
    (line,) = panels["gap"]
    colours = {line.get_label(): line.get_color() for line in panels["loss"]}
    assert (line.get_label(), line.get_color()) == ("B", colours["B"])
    assert [text.get_text() for text in figure.legends[0].get_texts()] == ["A", "B"]


def test_groups_show_their_expectations():
    arrays = {"positive_0": np.array([0.6, 0.8]), "negative_0": np.array([0.1, 0.3])}
    (axes,) = groups_figure({"DDL": arrays}).axes
    assert axes.get_title().startswith("DDL\n")
    assert "teacher (easy) 0.50" in axes.get_title()
    assert [line.get_xdata()[0] for line in axes.lines if line.get_linestyle() == ":"] == pytest.approx([0.7, 0.2])


def test_runs_are_read(tmp_path):
    runs = read_runs({"A": str(write_run(tmp_path / "a", groups=False)), "B": str(write_run(tmp_path / "b"))})
    assert [run.name for run in runs] == ["A", "B"]
    assert not runs[0].similarities
    section = curves_section(runs, styles_of(["A", "B"]))
    assert [part.name for part in section.parts] == ["curves", "groups"]
    assert all(isinstance(part, Picture) for part in section.parts)
    assert "embedding_gap_1" in section.parts[0].alternative


def test_missing_and_damaged_runs(tmp_path):
    (write_run(tmp_path / "a") / "similarities.npz").write_bytes(b"no archive")
    for name, message in (("nothing", r"no log\.csv"), ("a", r"similarities\.npz: no arrays that NumPy can read")):
        with pytest.raises(InputError, match=message):
            read_runs({"A": str(tmp_path / name)})
