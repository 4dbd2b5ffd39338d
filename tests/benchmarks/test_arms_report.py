import re

import numpy as np
import pandas as pd
import pytest
from arm_rows import drawn_rows, experiment
from arms.analysis import numbers
from arms.catalogue import ALL
from arms.plots import results_figure
from arms.report import report

TINY = experiment()
ARMS = ["none", "arcface", "arcface_ddl", "arcface_ddl_detached"]


def test_report_prints_and_draws(tmp_path, capsys):
    table = drawn_rows(TINY, ARMS)
    table.loc[table["arm"] == "none", "value"] = np.nan
    tuning = [drawn_rows(TINY, ["arcface"], [5], "tune", value).assign(auc=0.8) for value in ALL["arcface"].values]
    plot = tmp_path / "plots" / "tiny.png"
    report(TINY, table, pd.concat(tuning), plot, tmp_path, [0])
    text = capsys.readouterr().out
    assert text.startswith("## tiny\n\nhard: dark, small; easy: easy\n")
    # Each of the two arms with DDL against those without it, and all against the baseline.
    differences = re.findall(r"^\| (hard auc) \| (.+?) - (.+?) \| 5 \| ([+-][\d.]+) \|", text, re.MULTILINE)
    assert len(differences) == 2 + 2 + 3
    by_run = numbers(table, TINY)
    by_title = {ALL[arm].title: by_run["hard auc"].loc[arm].mean() for arm in ARMS}
    (none,) = re.findall(rf"^\| {re.escape(ALL['none'].title)} .*\| 5 \| ([^|]+) \|", text, re.MULTILINE)[:1]
    means = by_run["hard auc"].loc["none"]
    assert none == f"{means.mean():.4f} ± {means.std():.4f}"
    for _, a, b, apart in differences:
        assert float(apart) == pytest.approx(by_title[a] - by_title[b], abs=6e-5)
    assert "| ArcFace-FT | `--margin` | **0.1: 0.8000**" in text
    assert len(re.findall(r"^- (?:met|NOT met|not known): ", text, re.MULTILINE)) == 2 * 7
    # No evaluation was kept: no page.
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [plot]
    panels = results_figure(by_run, TINY.hard, TINY.easy).axes
    for panel, number in zip(panels, ("hard auc", "hard tar@1e-2", "gap")):
        for arm, dots in zip(ARMS, panel.collections[::2]):
            assert sorted(dots.get_offsets()[:, 0]) == pytest.approx(sorted(by_run.loc[arm, number]))
