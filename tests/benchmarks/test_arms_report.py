import re

import numpy as np
import pandas as pd
import pytest
from arm_rows import drawn_rows, experiment
from arms.analysis import numbers
from arms.catalogue import ALL
from arms.plots import results_figure
from arms.report import MAIN, means_table, report, tuning_table
from matplotlib.image import imread

TINY = experiment()
ARMS = ["none", "arcface", "arcface_ddl", "arcface_ddl_detached"]


def tuned(arm, aucs):
    made = [drawn_rows(TINY, [arm], [5], "tune", value).assign(auc=auc) for value, auc in aucs.items()]
    return pd.concat(made)


def test_means_against_loops():
    table = drawn_rows(TINY, ARMS, seeds=range(3))
    means = means_table(numbers(table, TINY), MAIN, {"arcface": "margin 0.3"})
    assert means["arm"].tolist() == [ALL[arm].title for arm in ARMS]
    assert means["tuned"].tolist() == ["", "margin 0.3", "", ""]
    assert means["seeds"].tolist() == [3] * 4
    for row, arm in zip(means.to_dict("records"), ARMS):
        mine = table[table["arm"] == arm]
        aucs = [mine[mine["set"].isin(TINY.hard) & (mine["seed"] == seed)]["auc"].mean() for seed in range(3)]
        assert row["hard AUC"] == f"{np.mean(aucs):.4f} ± {np.std(aucs, ddof=1):.4f}"
    single = means_table(numbers(table[table["seed"] == 0], TINY), MAIN, {})
    assert all(re.fullmatch(r"-?0\.\d{4}", text) for text in single["gap"])


def test_tuning_table_marks_the_chosen_value():
    values = ALL["arcface_ddl"].values
    aucs = dict(zip(values, (0.7, 0.9, 0.8, 0.6, 0.5)))
    (row,) = tuning_table(tuned("arcface_ddl", aucs), TINY).to_dict("records")
    assert row == {
        "arm": "ArcFace+DDL",
        "flag": "`--embedding_weight`",
        "hard AUC by value": "1: 0.7000, **3: 0.9000**, 10: 0.8000, 30: 0.6000, 100: 0.5000",
    }
    # Nothing is chosen before all were tried.
    (row,) = tuning_table(tuned("arcface_ddl", {1.0: 0.7, 3.0: 0.9}), TINY).to_dict("records")
    assert row["hard AUC by value"] == "1: 0.7000, 3: 0.9000"


def test_report_prints_and_draws(tmp_path, capsys):
    table = drawn_rows(TINY, ARMS)
    table.loc[table["arm"] == "none", "value"] = np.nan
    tuning = tuned("arcface", dict.fromkeys(ALL["arcface"].values, 0.8))
    plot = tmp_path / "plots" / "tiny.png"
    report(TINY, table, tuning, plot, tmp_path, [0])
    text = capsys.readouterr().out
    assert text.startswith("## tiny\n\nhard: dark, small; easy: easy\n")
    headings = re.findall(r"^\| arm \| tuned \| seeds \| (.*) \|$", text, re.MULTILINE)
    assert headings == ["hard AUC | hard TAR@1e-2 | hard margin | gap", *["dark | small | easy | lfw"] * 2]
    # Each of the two arms with DDL against those without it, and all against the baseline.
    assert [line for line in text.splitlines() if line.endswith("paired by seed:")] == [
        f"{ALL[arm].title} and others, paired by seed:" for arm in ("arcface_ddl", "arcface_ddl_detached", "arcface")
    ]
    differences = re.findall(r"^\| (hard auc) \| (.+?) - (.+?) \| 5 \| ([+-][\d.]+) \|", text, re.MULTILINE)
    assert len(differences) == 2 + 2 + 3
    by_run = numbers(table, TINY)
    by_title = {ALL[arm].title: by_run["hard auc"].loc[arm].mean() for arm in ARMS}
    for _, a, b, apart in differences:
        assert float(apart) == pytest.approx(by_title[a] - by_title[b], abs=6e-5)
    assert "| ArcFace-FT | `--margin` | **0.1: 0.8000**" in text
    assert len(re.findall(r"^- (?:met|NOT met|not known): ", text, re.MULTILINE)) == 2 * 7
    assert text.endswith(f"plot: {plot}\n")
    assert imread(plot).shape[2] == 4
    # No evaluation was kept: no page.
    assert sorted(path.name for path in tmp_path.iterdir()) == ["plots"]
    panels = results_figure(by_run, TINY.hard, TINY.easy).axes
    for panel, number in zip(panels, ("hard auc", "hard tar@1e-2", "gap")):
        for arm, dots in zip(ARMS, panel.collections[::2]):
            assert sorted(dots.get_offsets()[:, 0]) == pytest.approx(sorted(by_run.loc[arm, number]))
    assert [text.get_text() for text in panels[0].get_yticklabels()] == [ALL[arm].title for arm in ARMS]
    assert [text.get_text() for text in panels[3].get_legend().get_texts()] == [ALL[arm].title for arm in ARMS]
