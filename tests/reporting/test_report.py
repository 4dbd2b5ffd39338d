"""The command, as a user gives it."""

import re
import shutil
import subprocess
import sys

import numpy as np
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
    monkeypatch.setattr("ddl_tf.reporting.page._DPI", 20)

    def report(output=f"{tmp_path}/report", **changes):
        usual = {"evaluations": [f"ArcFace={folder}/arcface", f"{folder}/ddl"], "replicates": 40, "tsne_images": 12}
        main(ReportSettings(output=output, **{**usual, **changes}))
        return (tmp_path / "report" / "index.html").read_text()

    return report


def test_the_command_writes_a_page(folder, report, tmp_path):
    flags = [
        f"--evaluations=Arc<Face>={folder}/arcface,DDL={folder}/ddl",
        "--easy=easy_set",
        "--hard=hard_set",
        f"--runs=DDL={folder}/run",
        f"--output={tmp_path}/command",
        "--title=Easy & hard",
        "--replicates=40",
        "--tsne_images=12",
    ]
    run = subprocess.run([sys.executable, "-m", "ddl_tf.report", *flags], check=True, capture_output=True, text=True)
    assert run.stdout == f"{tmp_path}/command/index.html\n"
    # Neither warnings nor start-up lines.
    assert own_lines(run.stderr) == []
    page = (tmp_path / "command" / "index.html").read_text()
    assert "<title>Easy &amp; hard</title>" in page
    assert "Arc&lt;Face&gt;" in page
    assert "http" not in page
    for name in ("findings", "easy-and-hard", "roc", "identification", "conditions", "map", "training", "provenance"):
        assert f'<h2 id="{name}">' in page
    assert "DDL against Arc&lt;Face&gt; on hard_set: AUC +" in page
    table = pd.read_csv(tmp_path / "command" / "tables" / "comparison.csv")
    assert set(table["set"]) == {"easy_set", "hard_set", "scface"}
    assert (tmp_path / "command" / "figures" / "gap.svg").is_file()

    # Equal settings give an equal page, in another process too; but for the day: midnight may lie between them.
    evaluations, runs = [f"Arc<Face>={folder}/arcface", f"DDL={folder}/ddl"], [f"DDL={folder}/run"]
    again = report(evaluations=evaluations, easy="easy_set", hard="hard_set", runs=runs, title="Easy & hard")
    pages = [re.sub(r"Made on \d{4}-\d\d-\d\d", "", text) for text in (page, again)]
    assert pages[0] == pages[1] != page


def test_every_id_of_a_page_is_there_once_and_every_picture_has_a_file_whatever_the_names(folder, report, tmp_path):
    for model in ("arcface", "ddl"):
        shutil.copytree(folder / model, tmp_path / model)
        for name in ("my set", r"$\bad$"):
            write_pairs(tmp_path / model, name, 0.3)
    names = {r"$\bad$": "arcface", "_ddl": "ddl"}
    evaluations = [f"{name}={tmp_path}/{model}" for name, model in names.items()]
    runs = [f"{name}={folder}/run" for name in names]
    page = report(easy="easy_set", hard="hard_set", evaluations=evaluations, runs=runs)
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert [name for name in ids if ids.count(name) > 1] == []
    assert {"map", "provenance", "part-map", "part-provenance"} <= set(ids)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    pictures = re.findall(r'<figure id="part-([^"]*)"', page)
    files = sorted(file.name for file in (tmp_path / "report" / "figures").iterdir())
    assert files == sorted(f"{name}.{ending}" for name in pictures for ending in ("png", "svg"))
    assert len([name for name in pictures if name.startswith("roc-")]) == 4
    # Matplotlib names what it draws in a comment of the file: the legend has both.
    drawn = (tmp_path / "report" / "figures" / "roc-easy_set.svg").read_text()
    assert "_ddl -->" in drawn
    assert r"\bad" in drawn


def test_one_model_alone(folder, report, tmp_path):
    page = report(evaluations=[f"{folder}/ddl"])
    assert '<h2 id="findings">' not in page
    assert '<h2 id="map">' not in page
    assert "asterisk" not in page
    assert not (tmp_path / "report" / "tables" / "differences.csv").exists()


def test_runs_alone(folder, report):
    page = report(evaluations=[], runs=[f"{folder}/run"])
    assert page.count("<figure ") == 2
    assert '<h2 id="provenance">' not in page


def test_a_set_that_only_one_has(report, tmp_path):
    for folder, names in (("arcface", ["easy_set"]), ("ddl", ["easy_set", "agedb"])):
        for name in names:
            write_pairs(tmp_path / folder, name, 0.3)
    evaluations = [f"ArcFace={tmp_path}/arcface", f"{tmp_path}/ddl"]
    page = report(evaluations=evaluations, easy="easy_set", hard="agedb")
    assert "ArcFace was not evaluated on agedb; a dash stands in its place." in page
    assert "<td>\N{EN DASH}</td>" in page


def test_columns_are_chosen(report, tmp_path):
    write_pairs(tmp_path / "only", "lfw", 0.3)
    file = tmp_path / "only" / "lfw" / "images.csv"
    images = pd.read_csv(file)
    images.assign(sharpness=range(len(images)), brightness=range(len(images))).to_csv(file, index=False)
    report(evaluations=[f"{tmp_path}/only"], columns=["yaw", "sharpness"])
    bins = {path.stem for path in (tmp_path / "report" / "figures").glob("bins-*.png")}
    assert bins == {"bins-lfw-yaw", "bins-lfw-sharpness"}


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"evaluations": []}, "nothing to report on: name --evaluations, or --runs"),
        ({"evaluations": ["nowhere"]}, "nowhere: no stored evaluation there"),
        ({"runs": ["nowhere"]}, r"nowhere: no log\.csv"),
        ({"easy": "easy_set"}, "--easy and --hard: give both, or none"),
        ({"easy": "lfw", "hard": "hard_set"}, "--easy=lfw: no model was evaluated on it, but on easy_set, hard_set"),
        ({"easy": "easy_set", "hard": "scface"}, "--hard=scface: has no pairs"),
        ({"columns": ["blur"]}, "--columns=blur: no set has it, but key, person, yaw"),
        ({"replicates": 10}, "10 replicates"),
        ({"easy": "easy_set", "hard": "hard_set", "tsne_images": 2}, "--tsne_images=2"),
        ({"output": ""}, "--output is missing"),
    ],
)
def test_bad_settings(report, changes, message):
    with pytest.raises(InputError, match=message) as error:
        report(**changes)
    assert "\n" not in str(error.value)


def test_different_pairs_are_refused(folder, report, tmp_path):
    shutil.copytree(folder / "ddl", tmp_path / "other")
    file = tmp_path / "other" / "hard_set" / "scores.npz"
    with np.load(file) as stored:
        scores = {name: stored[name] for name in stored.files}
    scores["same"] = ~scores["same"]
    np.savez(file, **scores)
    with pytest.raises(InputError, match="set hard_set: ArcFace and other were not evaluated on the same, 240 pairs"):
        report(evaluations=[f"ArcFace={folder}/arcface", f"{tmp_path}/other"])
    assert not (tmp_path / "report").exists()
