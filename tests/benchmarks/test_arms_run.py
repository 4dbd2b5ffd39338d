"""A whole experiment, tiny: two arms, one seed, two steps of 32-pixel synthetic faces."""

import contextlib
import dataclasses
import json
import os
from concurrent import futures
from pathlib import Path

import pandas as pd
import pytest
import tensorflow as tf
from arm_rows import evaluated
from arms import worker
from arms.catalogue import ALL
from arms.experiment import Experiment, Split, make_job
from arms.stages import ArmsSettings, run_experiment
from tiny_network import tiny_network  # noqa: F401

from ddl_tf import report as ddl_report
from ddl_tf import training
from ddl_tf.common.errors import InputError, NotFiniteError
from ddl_tf.models import build_recognizer, save_checkpoint
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic

PAIRS = {"pairs": ["faces/easy", "faces/hard"]}
SMALL = {"backbone": "plain_small", "embedding_size": 16, "image_size": 16, "scale": 16.0}


class InThisProcess(contextlib.nullcontext):
    """A pool of processes, without the seconds that another process needs to import TensorFlow."""

    def __init__(self, workers, context, begin, arguments):
        super().__init__(self)
        begin(*arguments)

    def submit(self, function, job):
        future = futures.Future()
        future.set_result(function(job))
        return future


def make_faces(root, folder):
    drawn = {"identities": 8, "images_per_identity": 4, "test_identities": 20, "test_pairs": 40, "image_size": 16}
    prepare_synthetic(SyntheticSettings(output=str(folder), **drawn))


TINY = Experiment(
    name="tiny",
    sets={"faces": make_faces},
    shared={**SMALL, "rows_per_group": 4, "pairs_per_group": 4, "epochs": 1, "learning_rate": 0.01},
    easy="easy",
    hard=("hard",),
    generic=(),
    tuning=Split(["faces/train"], PAIRS),
    test=Split(["faces/train"], PAIRS),
)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """What exists before: the data, and checkpoints of two seeds that something else made."""
    root = tmp_path_factory.mktemp("arms")
    for name in ("celeba", "cfp", "made/pretrain_0"):
        (root / name).mkdir(parents=True)
    for name in ("lfw_dev.bin", "made/pretrain_0/results.json"):
        (root / name).touch()
    model = build_recognizer("plain_small", 8, embedding_size=16, input_shape=(16, 16, 3), scale=16.0)
    save_checkpoint(model, root / "made/pretrain_0/checkpoints/last.keras")
    (root / "made/pretrain_5").symlink_to(root / "made/pretrain_0")
    return root


@pytest.fixture
def settings(place):
    folders = {"celeba": "celeba", "cfp": "cfp", "lfw_bin": "lfw_dev.bin", "output": "out", "results": "results"}
    paths = {name: str(place / path) for name, path in {**folders, "images": "images", "pretrained": "made"}.items()}
    return ArmsSettings(**paths, arms=["none", "arcface_ddl"], seeds=[0], steps=2)


def test_the_whole(settings, place, monkeypatch, capfd):
    # One value: each is a run.
    monkeypatch.setitem(ALL, "arcface_ddl", dataclasses.replace(ALL["arcface_ddl"], values=(3.0,)))
    monkeypatch.chdir(place)
    monkeypatch.setattr(futures, "ProcessPoolExecutor", InThisProcess)
    train, pages = training.train, []

    def train_here(settings):
        """On one device: two strategies of several devices in a process clash. Tuning only leaves what a run does."""
        if settings.seed == 5:
            for folder in ("checkpoints", "resume"):
                Path(settings.run_dir, folder).mkdir(parents=True)
            return [evaluated(name) for name in ("easy", "hard")]
        return train(settings, strategy=tf.distribute.get_strategy())

    monkeypatch.setattr(training, "train", train_here)
    monkeypatch.setattr(ddl_report, "main", pages.append)
    run_experiment(TINY, settings)
    tuning, table = (pd.read_csv(place / f"results/{name}.csv") for name in ("tiny_tuning", "tiny"))
    columns = ["arm", "seed", "set", "steps", "value"]
    assert tuning[columns].to_numpy().tolist() == [["arcface_ddl", 5, name, 2, 3.0] for name in ("easy", "hard")]
    assert table[columns].fillna(0).to_numpy().tolist() == [
        [arm, 0, name, *rest] for arm, *rest in (("none", 0, 0.0), ("arcface_ddl", 2, 3.0)) for name in ("easy", "hard")
    ]
    out = place / "out"
    # Each row is what its run wrote; the last evaluation is in its folder.
    results = json.loads((out / "run/arcface_ddl_0/results.json").read_text())
    assert [round(result["auc"], 7) for result in results] == table["auc"].tolist()[2:]
    # What is kept, and what is not.
    assert (out / "run/arcface_ddl_0/checkpoints/last.keras").exists()
    assert not (out / "tune/arcface_ddl_3_5/checkpoints").exists()
    assert not list(out.glob("*/*/resume"))
    assert {path.parent.parent.name for path in out.glob("evaluations/*/*/result.json")} == {"none_0", "arcface_ddl_0"}
    (page,) = pages
    assert page.evaluations == [f"{ALL[arm].title}={out / 'evaluations' / arm}_0" for arm in ("none", "arcface_ddl")]
    assert page.runs == [f"ArcFace+DDL={out / 'run/arcface_ddl_0'}"]
    assert "tiny run: 2 runs to do of 2" in capfd.readouterr().err
    # The same again: nothing is run, and nothing changes.
    monkeypatch.setattr(futures, "ProcessPoolExecutor", None)
    before = {path: path.read_bytes() for path in (place / "results").iterdir()}
    run_experiment(TINY, dataclasses.replace(settings, stages=["prepare", "pretrain", "tune", "run"]))
    assert {path: path.read_bytes() for path in (place / "results").iterdir()} == before
    with pytest.raises(InputError, match="are of other settings than now"):
        run_experiment(TINY, dataclasses.replace(settings, stages=["run"], steps=3))


def test_an_output_folder_is_that_of_one_experiment_with_the_same_data(settings, place, tmp_path):
    empty = dataclasses.replace(TINY, sets={})
    here = dataclasses.replace(settings, output=str(tmp_path / "out"), stages=["prepare"])
    with pytest.raises(InputError, match="--cfp is missing"):
        run_experiment(empty, dataclasses.replace(here, cfp=None))
    run_experiment(empty, here)
    assert (tmp_path / "out/data/cfp").resolve() == (place / "cfp").resolve()
    # It is remembered.
    run_experiment(empty, dataclasses.replace(here, celeba=None, cfp=None, lfw_bin=None))
    for changes, message in (
        ({"cfp": str(tmp_path)}, "was made of "),
        ({"head_start": "class_means", "stages": ["run"]}, "out has the runs of tiny, not of tiny_class_means; give"),
    ):
        with pytest.raises(InputError, match=message):
            run_experiment(empty, dataclasses.replace(here, **changes))


def test_processes_of_their_own(settings, place, tmp_path):
    chosen = {"arms": ["none"], "stages": ["prepare", "pretrain", "run"], "stored_seeds": []}
    run_experiment(TINY, dataclasses.replace(settings, results=str(tmp_path / "results"), **chosen))
    assert pd.read_csv(tmp_path / "results/tiny.csv")["set"].tolist() == ["easy", "hard"]
    # What it printed is in its log.
    assert "hard" in (place / "out/logs/run/none_0.log").read_text()


def test_a_run_that_diverges_is_finished(monkeypatch, tmp_path, capsys):
    def diverge(job):
        os.write(2, b"from C\n")
        raise NotFiniteError("the loss is nan")

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(worker, "_train", diverge)
    job = make_job(TINY, "tune", "rkd", 5, 1.0, 2)
    assert worker.run_job(job).results == []
    assert capsys.readouterr().err == "the loss is nan\n"
    assert (tmp_path / "logs/tune/rkd_1_5.log").read_text() == "from C\n"
