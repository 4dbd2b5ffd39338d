"""Whole comparisons with stand-ins for the training, and one that trains."""

import dataclasses
import functools
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import Executor, Future
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from tiny_network import tiny_network  # noqa: F401

from ddl_tf.common.errors import InputError
from ddl_tf.synthetic.faces import SyntheticSettings, prepare_synthetic
from ddl_tf.training import TrainSettings, train
from ddl_tf.tuning import TuneSettings, comparing, runs, tune
from ddl_tf.tuning.arms import ARMS


class ThisProcess(Executor):
    """Stands in for the processes: a run is done when it is handed over."""

    def __init__(self, *_):
        pass

    def submit(self, function, *arguments):
        future = Future()
        future.set_result(function(*arguments))
        return future


@pytest.fixture(scope="module")
def faces(tmp_path_factory):
    folder = tmp_path_factory.mktemp("faces")
    counts = {"identities": 8, "images_per_identity": 6, "test_identities": 20, "test_pairs": 40}
    prepare_synthetic(SyntheticSettings(output=str(folder), image_size=32, **counts))
    return folder


def settings_of(faces, folder, **changes):
    network = {"backbone": "plain_small", "embedding_size": 16, "image_size": 32, "scale": 16.0}
    rows = {"rows_per_group": 2, "pairs_per_group": 2, "epochs": 1, "steps_per_epoch": 2, "learning_rate": 0.01}
    data = {"train_data": [str(faces / "train")], "pairs": [str(faces / "easy"), str(faces / "hard")], "easy": "easy"}
    chosen = {"choose_by": "auc", "seeds": 2, "arms": ["ddl"], "easy_floor": 1.0, "init_checkpoint": "start"}
    return TuneSettings(run_dir=str(folder), **{**data, **network, **rows, **chosen, **changes})


@pytest.fixture
def trained(monkeypatch):
    """Stands in for the training: DDL of weight 10 is best, weight 3 diverges, and weight 30 spoils the easy pairs."""
    done = []

    def train_run(run):
        done.append((run.stage, run.arm, run.value, run.settings.seed))
        if run.value == 3.0:
            return []
        gain = {0.3: 0.01, 1.0: 0.02, 10.0: 0.05, 30.0: 0.2}.get(run.value, 0.0) + 0.001 * run.settings.seed**2
        hard, easy = (0.5 if run.arm == "none" else 0.6) + gain, 0.2 if run.value == 30.0 else 0.9
        checkpoint = Path(run.settings.run_dir) / "checkpoints/last.keras"
        checkpoint.parent.mkdir(parents=True)
        checkpoint.write_text(run.name)
        same = {"accuracy": 0.5, "eer": 0.1, "expectation_margin": 0.3, "tar": {"1e-1": 0.5, "1e-2": None}}
        # A little of chance, or there is nothing to estimate.
        noise = np.random.default_rng([run.settings.seed, len(run.arm)]).normal(0, 0.001)
        return [{"set": "easy", "auc": easy, **same}, {"set": "hard", "auc": hard + noise, **same}]

    monkeypatch.setattr(runs, "train_run", train_run)
    monkeypatch.setattr(runs, "spawned_processes", ThisProcess)
    return done


def test_values_are_chosen_by_one_seed_and_arms_compared_by_others(faces, tmp_path, trained, capsys):
    settings = settings_of(faces, tmp_path / "tuned", easy_floor=0.1, seeds=4)
    text = tune(settings)
    assert text.startswith("DDL is worth it. DDL against margin softmax alone, 4 seeds: auc of the hard pairs +0.0490")
    chosen = [run for run in trained if run[0] == "choose"]
    assert chosen == [
        ("choose", "none", None, 0),
        ("choose", "margin", None, 0),
        *(("choose", "ddl", w, 0) for w in (0.1, 0.3, 1, 3, 10, 30)),
    ]
    compared = {run[1:] for run in trained if run[0] == "compare"}
    assert compared == {
        (arm, value, seed) for arm, value in (("none", None), ("margin", None), ("ddl", 10.0)) for seed in (1, 2, 3, 4)
    }
    assert (tmp_path / "tuned/best.keras").read_text() == "ddl_10_1"
    page = (tmp_path / "tuned/index.html").read_text()
    for words in (
        "DDL is worth it",
        "on the people by whom the values were chosen",
        "diverged",
        "embedding_weight 10",
    ):
        assert words in page
    table = pd.read_csv(tmp_path / "tuned/results.csv")
    # Two sets of each run, and one row of that which diverged.
    assert len(table) == 2 * (7 + 12) + 1
    lines = capsys.readouterr().err
    for words in ("8 of 8 runs to choose are to do, 1 side by side", "12 of 12 runs to compare", "/choose/*.log say"):
        assert words in lines
    # The same again does nothing again, and says the same.
    trained.clear()
    assert tune(settings) == text
    assert not trained
    # What was lost is done again, and nothing else.
    table[(table["arm"] != "ddl") | (table["seed"] != 2)].to_csv(tmp_path / "tuned/results.csv", index=False)
    shutil.rmtree(tmp_path / "tuned/compare/ddl_10_2")
    assert tune(settings) == text
    assert trained == [("compare", "ddl", 10.0, 2)]
    assert "1 of 12 runs to compare are to do" in capsys.readouterr().err
    with pytest.raises(
        InputError, match=r"results of none_0 are of other settings than now \(learning_rate\); give another"
    ):
        tune(settings_of(faces, tmp_path / "tuned", easy_floor=0.1, seeds=4, learning_rate=0.02))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"easy": None}, "--easy is missing"),
        ({"easy": "dark"}, "--easy=dark: there is no such verification set, but easy, hard"),
        ({"hard": ["easy"]}, "--easy=easy needs another verification set beside it"),
        ({"init_checkpoint": None}, "--init_checkpoint is missing"),
        ({"seeds": 1}, "--seeds must be at least 2, got 1"),
        ({"easy_floor": -1.0}, "--easy_floor must not be negative"),
    ],
)
def test_refused(faces, tmp_path, changes, words):
    with pytest.raises(InputError, match=words):
        tune(settings_of(faces, tmp_path / "tuned", **changes))
    assert not (tmp_path / "tuned").exists()


def test_test_pairs_must_have_the_sets_by_which_is_chosen(faces, tmp_path):
    with pytest.raises(InputError, match="--test_pairs has the sets easy, but not hard, which is chosen by"):
        tune(settings_of(faces, tmp_path, test_pairs=[str(faces / "easy")]))


def test_it_trains(faces, tmp_path, monkeypatch):
    monkeypatch.setitem(ARMS, "ddl", dataclasses.replace(ARMS["ddl"], values=(10.0,)))
    monkeypatch.setattr(runs, "spawned_processes", ThisProcess)
    # The tests' process has two devices.
    monkeypatch.setattr(runs, "train", functools.partial(train, strategy=tf.distribute.get_strategy()))
    start = settings_of(faces, tmp_path / "start").run(
        init_checkpoint=None, rows_per_group=0, pairs_per_group=0, shuffled_rows=8
    )
    runs.train(start)
    changes = {
        "init_checkpoint": str(tmp_path / "start"),
        "train_blocks": 1,
        "feature_cache": str(tmp_path / "features"),
    }
    text = tune(settings_of(faces, tmp_path / "tuned", **changes))
    assert "2 seeds" in text
    table = pd.read_csv(tmp_path / "tuned/results.csv")
    started = table[table["arm"] == "none"]
    # The head alone trained, and its embeddings are those of the start.
    assert started.groupby("set")["auc"].nunique().tolist() == [1, 1]
    assert isinstance(settings_of(faces, tmp_path).run(), TrainSettings)


@pytest.mark.parametrize("arm", [arm for arm in ARMS if ARMS[arm].tuned])
def test_every_arm_sets_what_it_tunes_as_the_flag_would(faces, tmp_path, arm):
    """A rank stays a whole number, as LoRA's layers ask for."""
    settings, name = settings_of(faces, tmp_path / "tuned", arms=[arm]), ARMS[arm].tuned
    for value in ARMS[arm].values:
        tuned = getattr(comparing._run(settings, "choose", arm, float(value), 0).settings, name)
        assert tuned == value
        assert isinstance(tuned, int if name == "lora_rank" else float)


@pytest.mark.heavy
def test_the_recipe_goes_on_after_a_kill(faces, tmp_path):
    """Two processes share one cache of activations; what is killed with them is not left to run."""
    start = settings_of(faces, tmp_path / "start").run(
        init_checkpoint=None, rows_per_group=0, pairs_per_group=0, shuffled_rows=8
    )
    train(start, tf.distribute.get_strategy())
    root, folder = Path(__file__).resolve().parents[2], tmp_path / "tuned"
    command = [sys.executable, "-m", "ddl_tf.tune", f"--flagfile={root / 'recipes/tune_synthetic.cfg'}"]
    command += [f"--run_dir={folder}", f"--feature_cache={tmp_path / 'features'}", f"--init_checkpoint={start.run_dir}"]
    command += [f"--train_data={faces / 'train'}", f"--pairs={faces / 'easy'},{faces / 'hard'}", "--train_blocks=1"]
    command += ["--arms=margin", "--rows_per_group=2", "--pairs_per_group=2", "--steps_per_epoch=1", "--seeds=2"]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(root)})
        while process.poll() is None and not (folder / "results.csv").exists():
            time.sleep(0.1)
        process.send_signal(signal.SIGKILL)
        process.wait()
        first = pd.read_csv(folder / "results.csv")
        subprocess.run(command, stdout=log, stderr=log, env={**os.environ, "PYTHONPATH": str(root)}, check=True)
    table = pd.read_csv(folder / "results.csv")
    # Two sets of 2 runs to choose and 2 x 2 to compare, each once; those before the kill are kept.
    assert len(table) == len(table.drop_duplicates(["stage", "arm", "value", "seed", "set"])) == 2 * (2 + 4)
    pd.testing.assert_frame_equal(table.head(len(first)), first)
    assert (folder / "best.keras").exists()
    assert "of 2 runs to choose are to do, 2 side by side" in (tmp_path / "log").read_text()
