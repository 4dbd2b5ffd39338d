"""The command, as a user gives it."""

import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from generated_evaluations import write_evaluation, write_pairs, write_run
from own_lines import own_lines

from ddl_tf.common.errors import InputError
from ddl_tf.report import ReportSettings, main


@pytest.fixture
def folder(tmp_path):
    write_evaluation(tmp_path / "arcface", 0.8)
    write_evaluation(tmp_path / "ddl", 0.3)
    write_run(tmp_path / "run")
    return tmp_path


def settings(folder, **changes):
    given = {
        "evaluations": [f"ArcFace={folder}/arcface", f"{folder}/ddl"],
        "output": f"{folder}/report",
        "replicates": 40,
        "tsne_images": 12,
    }
    return ReportSettings(**{**given, **changes})


def test_the_command_writes_a_page(folder):
    flags = [
        f"--evaluations=Arc<Face>={folder}/arcface,DDL={folder}/ddl",
        "--easy=easy_set",
        "--hard=hard_set",
        f"--runs=DDL={folder}/run",
        f"--output={folder}/report",
        "--title=Easy & hard",
        "--replicates=40",
        "--tsne_images=12",
    ]
    run = subprocess.run([sys.executable, "-m", "ddl_tf.report", *flags], check=True, capture_output=True, text=True)
    assert run.stdout == f"{folder}/report/index.html\n"
    # Neither warnings nor start-up lines.
    assert own_lines(run.stderr) == []
    page = (folder / "report" / "index.html").read_text()
    assert "<title>Easy &amp; hard</title>" in page
    assert "Arc&lt;Face&gt;" in page
    assert "http" not in page
    for name in ("findings", "easy-and-hard", "roc", "identification", "conditions", "map", "training", "provenance"):
        assert f'<h2 id="{name}">' in page
    assert "DDL against Arc&lt;Face&gt; on hard_set: AUC +" in page
    table = pd.read_csv(folder / "report" / "tables" / "comparison.csv")
    assert set(table["set"]) == {"easy_set", "hard_set", "scface"}
    assert (folder / "report" / "figures" / "gap.svg").is_file()

    # Equal settings give an equal page, in another process too.
    again = [f"Arc<Face>={folder}/arcface", f"DDL={folder}/ddl"]
    main(
        settings(
            folder,
            evaluations=again,
            easy="easy_set",
            hard="hard_set",
            runs=[f"DDL={folder}/run"],
            output=f"{folder}/again",
            title="Easy & hard",
        )
    )
    # But for the day: midnight may lie between them.
    pages = [re.sub(r"Made on \d{4}-\d\d-\d\d", "", text) for text in (page, (folder / "again/index.html").read_text())]
    assert pages[0] == pages[1] != page


def test_every_id_of_a_page_is_there_once_and_every_picture_has_a_file_whatever_the_names(tmp_path):
    for place, model in enumerate(("one", "two")):
        write_evaluation(tmp_path / model, 0.3 + 0.5 * place, races=True)
        for name in ("my set", "my-20-set", "my.20.set", r"$\bad$", "_set"):
            write_pairs(tmp_path / model, name, 0.3 + 0.5 * place)
        write_run(tmp_path / "runs" / model)
    names = (r"$\bad$", "_ddl")
    evaluations = [f"{name}={tmp_path}/{model}" for name, model in zip(names, ("one", "two"))]
    runs = [f"{name}={tmp_path}/runs/{model}" for name, model in zip(names, ("one", "two"))]
    wanted = {"easy": "easy_set", "hard": "hard_set", "evaluations": evaluations, "runs": runs}
    main(settings(tmp_path, **wanted))
    page = (tmp_path / "report" / "index.html").read_text()
    ids = re.findall(r'\sid="([^"]*)"', page)
    assert [name for name in ids if ids.count(name) > 1] == []
    assert {"map", "provenance", "part-map", "part-provenance"} <= set(ids)
    assert set(re.findall(r'href="#([^"]*)"', page)) <= set(ids)
    pictures = re.findall(r'<figure id="part-([^"]*)"', page)
    files = sorted(file.name for file in (tmp_path / "report" / "figures").iterdir())
    assert files == sorted(f"{name}.{ending}" for name in pictures for ending in ("png", "svg"))
    assert len([name for name in pictures if name.startswith("roc-")]) == 11
    # Matplotlib names what it draws in a comment of the file: the legend has both.
    drawn = (tmp_path / "report" / "figures" / "roc-easy_set.svg").read_text()
    assert "_ddl -->" in drawn
    assert r"\bad" in drawn


def test_one_model_alone(folder):
    main(settings(folder, evaluations=[f"{folder}/ddl"]))
    page = (folder / "report" / "index.html").read_text()
    assert '<h2 id="findings">' not in page
    assert '<h2 id="map">' not in page
    assert "asterisk" not in page
    assert not (folder / "report" / "tables" / "differences.csv").exists()


def test_runs_alone(folder):
    main(settings(folder, evaluations=[], runs=[f"{folder}/run"]))
    page = (folder / "report" / "index.html").read_text()
    assert page.count("<figure ") == 2
    assert '<h2 id="provenance">' not in page


def test_a_set_that_only_one_has(folder):
    write_pairs(folder / "ddl", "agedb", 0.3)
    main(settings(folder, easy="easy_set", hard="agedb"))
    page = (folder / "report" / "index.html").read_text()
    assert "ArcFace was not evaluated on agedb; a dash stands in its place." in page
    assert "<td>\N{EN DASH}</td>" in page


def test_columns_are_chosen(folder):
    write_pairs(folder / "only", "lfw", 0.3)
    file = folder / "only" / "lfw" / "images.csv"
    images = pd.read_csv(file)
    images.assign(sharpness=range(len(images)), brightness=range(len(images))).to_csv(file, index=False)
    main(settings(folder, evaluations=[f"{folder}/only"], columns=["yaw", "sharpness"]))
    bins = {path.stem for path in (folder / "report" / "figures").glob("bins-*.png")}
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
def test_bad_settings(folder, changes, message):
    with pytest.raises(InputError, match=message) as error:
        main(settings(folder, **changes))
    assert "\n" not in str(error.value)


def test_different_pairs_are_refused(folder):
    write_evaluation(folder / "other", 0.5)
    file = folder / "other" / "hard_set" / "scores.npz"
    with np.load(file) as stored:
        scores = {name: stored[name] for name in stored.files}
    scores["same"] = ~scores["same"]
    np.savez(file, **scores)
    with pytest.raises(InputError, match="set hard_set: ArcFace and other were not evaluated on the same, 240 pairs"):
        main(settings(folder, evaluations=[f"ArcFace={folder}/arcface", f"{folder}/other"]))
    assert not (folder / "report").exists()
