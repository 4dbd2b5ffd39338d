"""The surveillance sets by their commands, compared and on a page."""

import json
import shutil

import numpy as np
import pandas as pd
import pytest

from ddl_tf.evaluate import COMMANDS, CompareSettings, compare
from ddl_tf.report import ReportSettings
from ddl_tf.report import main as report
from ddl_tf.reporting.comparisons import comparison_table
from ddl_tf.reporting.evaluations import read_evaluation


@pytest.fixture(scope="module")
def stored(surveillance_sets, surveillance_maker, tmp_path_factory):
    """The stored evaluations of two models: of the embeddings of the scripts, and of noisier ones."""
    folder = tmp_path_factory.mktemp("stored")
    for name, root, sets in (
        ("survface", "QMUL-SurvFace", ("survface_pairs", "survface_search")),
        ("ijbs", "IJBS", ("ijbs",)),
    ):
        run, settings_class = COMMANDS[name]
        given = {"root": str(surveillance_sets / root)}
        run(settings_class(**given, list_images=str(folder)))
        for model, noise in (("clear", 0.5), ("noisy", 1.5)):
            files = [folder / f"{model}_{part}.npy" for part in sets]
            for part, file in zip(sets, files):
                keys = pd.read_csv(folder / f"{part}.csv")["key"]
                np.save(file, np.array([surveillance_maker["embedding"](key, noise) for key in keys]))
            run(settings_class(**given, embeddings=list(map(str, files)), replicates=40, store=str(folder / model)))
    return folder


def test_models_are_compared_on_every_set(stored, capsys):
    compare(CompareSettings(baseline=str(stored / "noisy"), candidate=str(stored / "clear"), replicates=40))
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    numbers = {(row["set"], row["number"]) for row in rows}
    for wanted in (
        ("survface_pairs", "auc"),
        ("survface_pairs", "tar@3e-1"),
        ("survface_search", "rank1"),
        ("ijbs", "rank1@surveillance_to_single"),
        ("ijbs", "rank1@uav_to_booking"),
    ):
        assert wanted in numbers
    assert all(row["difference"] > 0 for row in rows if row["number"] in ("auc", "rank1"))


def test_the_page_says_how_templates_were_pooled(stored, tmp_path):
    evaluations = [str(stored / "noisy"), str(stored / "clear")]
    report(ReportSettings(evaluations=evaluations, output=str(tmp_path), replicates=40))
    page = (tmp_path / "index.html").read_text()
    assert "Templates are pooled: ijbs by norm-weighted mean; survface_search by mean." in page
    for text in ("TPIR20@3e-1", "TPIR@1e-1, surveillance_to_single", "rank-1, uav_to_booking"):
        assert text in page
    assert "fpir_reached" not in page
    # Another pooling is said of whom it is.
    noisy = json.loads((stored / "noisy/ijbs/result.json").read_text())
    noisy["result"]["pooling"] = "mean"
    shutil.copytree(stored / "noisy", tmp_path / "noisy")
    (tmp_path / "noisy/ijbs/result.json").write_text(json.dumps(noisy))
    models = [
        read_evaluation(name, str(folder)) for name, folder in (("a", tmp_path / "noisy"), ("b", stored / "clear"))
    ]
    assert "ijbs of a by mean; ijbs of b by norm-weighted mean; surv" in comparison_table(models, []).caption
