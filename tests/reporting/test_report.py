"""The command, as a user gives it."""

import re
import shutil
import subprocess
import sys

import pandas as pd
import pytest
from generated_evaluations import write_evaluation, write_pairs, write_run
from own_lines import own_lines

from ddl_tf.common.errors import InputError
from ddl_tf.report import ReportSettings, main


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("evaluated")
    write_evaluation(folder / "arcface", 0.8)
    write_evaluation(folder / "ddl", 0.3)
    write_run(folder / "run")
    return folder


@pytest.fixture
def report(folder, tmp_path, monkeypatch):
    """Makes a report, and returns its page."""
    monkeypatch.setattr("ddl_tf.reporting.drawing._DPI", 20)

    def report(output=f"{tmp_path}/report", **changes):
        usual = {"evaluations": [f"ArcFace={folder}/arcface", f"{folder}/ddl"], "replicates": 40, "tsne_images": 12}
        main(ReportSettings(output=output, **{**usual, **changes}))
        return (tmp_path / "report" / "index.html").read_text()

    return report


def test_a_page_of_two_models_whatever_their_names(folder, report, tmp_path, capsys):
    names = {r"$\bad$": "arcface", "_ddl": "ddl"}
    for model in names.values():
        shutil.copytree(folder / model, tmp_path / model)
    write_pairs(tmp_path / "ddl", "my set", 0.3)
    page = report(
        evaluations=[f"{name}={tmp_path}/{model}" for name, model in names.items()],
        runs=[f"{name}={folder}/run" for name in names],
        easy="easy_set",
        hard="hard_set",
        title="Easy & <hard>",
    )
    assert capsys.readouterr().out == f"{tmp_path}/report/index.html\n"
    assert "<title>Easy &amp; &lt;hard&gt;</title>" in page
    assert "http" not in page
    for name in ("findings", "easy-and-hard", "roc", "identification", "conditions", "map", "training", "provenance"):
        assert f'<h2 id="{name}">' in page
    assert r"_ddl against $\bad$ on hard_set: AUC +" in page
    assert r"$\bad$ was not evaluated on my set; a dash stands in its place." in page
    assert "<td>\N{EN DASH}</td>" in page
    table = pd.read_csv(tmp_path / "report" / "tables" / "comparison.csv")
    assert set(table["set"]) == {"easy_set", "hard_set", "scface", "my set"}
    pictures = re.findall(r'<figure id="part-([^"]*)"', page)
    files = sorted(file.name for file in (tmp_path / "report" / "figures").iterdir())
    assert files == sorted(f"{name}.{ending}" for name in pictures for ending in ("csv", "png", "svg"))
    assert len([name for name in pictures if name.startswith("roc-")]) == 3
    # Matplotlib names what it draws in a comment of the file.
    assert "_ddl -->" in (tmp_path / "report" / "figures" / "roc-easy_set.svg").read_text()


def test_the_command_prints_the_page_and_neither_warnings_nor_start_up_lines(folder, tmp_path):
    """Of a run alone."""
    flags = [f"--runs=Arc<Face>={folder}/run", f"--output={tmp_path}/command"]
    run = subprocess.run([sys.executable, "-m", "ddl_tf.report", *flags], check=True, capture_output=True, text=True)
    assert run.stdout == f"{tmp_path}/command/index.html\n"
    assert own_lines(run.stderr) == []
    page = (tmp_path / "command" / "index.html").read_text()
    assert page.count("<figure ") == 2
    assert "Arc&lt;Face&gt;" in page
    assert '<h2 id="provenance">' not in page


def test_one_model_alone_with_chosen_columns(report, tmp_path):
    write_pairs(tmp_path / "only", "lfw", 0.3)
    file = tmp_path / "only" / "lfw" / "images.csv"
    images = pd.read_csv(file)
    images.assign(sharpness=range(len(images)), brightness=range(len(images))).to_csv(file, index=False)
    page = report(evaluations=[f"{tmp_path}/only"], columns=["yaw", "sharpness"])
    bins = {path.stem for path in (tmp_path / "report" / "figures").glob("bins-*.png")}
    assert bins == {"bins-lfw-yaw", "bins-lfw-sharpness"}
    for absent in ('<h2 id="findings">', '<h2 id="map">', "asterisk"):
        assert absent not in page
    assert not (tmp_path / "report" / "tables" / "differences.csv").exists()
    write_pairs(tmp_path / "other", "lfw", 0.3, seed=9)
    with pytest.raises(InputError, match="set lfw: only and other were not evaluated on the same"):
        report(evaluations=[f"{tmp_path}/only", f"{tmp_path}/other"])


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"evaluations": []}, "nothing to report on: name --evaluations, or --runs"),
        ({"evaluations": ["nowhere"]}, "nowhere: no stored evaluation there"),
        ({"runs": ["nowhere"]}, r"nowhere: no log\.csv"),
        ({"easy": "easy_set"}, "--easy and --hard: give both, or none"),
        ({"easy": "lfw", "hard": "hard_set"}, "--easy=lfw: no model was evaluated on it, but on easy_set, hard_set"),
        ({"easy": "easy_set", "hard": "scface"}, "--hard=scface: the set has no pairs"),
        ({"columns": ["blur"]}, "--columns=blur: no set has that column; choose of key, person, yaw"),
        ({"replicates": 10}, "10 replicates"),
        ({"easy": "easy_set", "hard": "hard_set", "tsne_images": 2}, "--tsne_images=2"),
        ({"output": ""}, "--output is missing"),
    ],
)
def test_bad_settings(report, changes, message):
    with pytest.raises(InputError, match=message):
        report(**changes)
