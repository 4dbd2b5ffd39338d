import dataclasses
import json
import pathlib

import numpy as np
import pandas as pd
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.stored import Outcome, write_outcome
from ddl_tf.serving import choose_threshold, model_card
from ddl_tf.serving.card import SETTINGS
from ddl_tf.training import TrainSettings

PAIRS = 400


@pytest.fixture
def run(tmp_path):
    """A run folder as training leaves it, on a stored set."""
    folder, data = tmp_path / "run", tmp_path / "faces"
    (folder / "checkpoints").mkdir(parents=True)
    data.mkdir()
    (data / "dataset.json").write_text(
        json.dumps({"images": 4812, "identities": 37, "made_by": {"source": "synthetic faces, train"}})
    )
    settings = {
        "train_data": [str(data), "gone/set"],
        "backbone": "iresnet18",
        "head": "cosface",
        "seed": 5,
        "epochs": 20,
    }
    (folder / "settings.json").write_text(json.dumps(settings))
    pd.DataFrame({"epoch": range(13), "loss": 1.0}).to_csv(folder / "log.csv", index=False)
    return folder


def _scores():
    random = np.random.RandomState(0)
    same = np.arange(PAIRS) % 2 == 0
    similarity = random.normal(0.1, 0.15, PAIRS) + 0.5 * same
    first = random.randint(0, 60, PAIRS)
    return {"similarity": similarity, "same": same, "first": first, "second": (first + 7) % 60}


@pytest.fixture
def evaluation(tmp_path):
    folder = tmp_path / "evaluation"
    result = {
        "set": "lfw",
        "protocol": "pairs",
        "pairs": 4000,
        "same": 2000,
        "accuracy": 0.9125,
        "eer": 0.0871,
        "tar": {"1e-2": 0.8123, "1e-3": 0.7321},
        "threshold": 0.33,
        "intervals": {"accuracy": [0.8912, 0.9345]},
    }
    write_outcome(folder / "lfw", Outcome(result, _scores()), {"flip": True, "command": "evaluate"})
    light = np.where(np.arange(60) < 25, "dark", "bright")
    table = {
        "key": [f"{n}.jpg" for n in range(60)],
        "person": np.arange(60),
        "light": light,
        "yaw": np.linspace(0, 1, 60),
    }
    pd.DataFrame(table).to_csv(folder / "lfw" / "images.csv", index=False)
    rank = Outcome(
        {"set": "scface", "protocol": "identification", "rank_1": {"far": 0.4567}}, {"rank": np.ones(3, int)}
    )
    write_outcome(folder / "scface", rank, {"flip": True})
    return str(folder)


def _description(run, threshold=None):
    return {
        "model": "faces",
        "version": 3,
        "dim": 64,
        "input_size": [112, 96],
        "flip": True,
        "checkpoint": str(run / "checkpoints" / "best.keras") if run else None,
        "threshold": threshold,
        "created": "2026-01-02T03:04:05+00:00",
        "versions": {"ddl_tf": "0.1.0"},
    }


def _rows(card, start):
    """The cells of the table row that begins so."""
    return [
        [cell.strip() for cell in line.strip("|").split("|")] for line in card.splitlines() if line.startswith(start)
    ]


def test_data_and_training_come_from_the_run(run):
    card = model_card(_description(run))
    assert _rows(card, f"| `{run.parent}/faces`") == [
        [f"`{run.parent}/faces`", "4,812", "37", "synthetic faces, train"]
    ]
    assert _rows(card, "| `gone/set`")[0][1] == "not there any more"
    told = {row[0]: row[1] for row in _rows(card, "| ") if len(row) == 2}
    assert (told["Backbone"], told["Head"], told["Seed"], told["Epochs in the log"]) == (
        "iresnet18",
        "cosface",
        "5",
        "13",
    )
    assert told["Input"] == "112 x 96 pixels, RGB"


def test_results_come_from_the_evaluation(run, evaluation):
    card = model_card(_description(run), evaluation)
    row = _rows(card, "| lfw")[0]
    assert row == ["lfw", "4,000", "91.25 % [89.12, 93.45]", "81.23 %", "too few pairs", "8.71 %"]
    assert _rows(card, "| rank_1 far") == [["rank_1 far", "0.4567"]]
    assert "Evaluated with the mirror image | lfw, scface" in card


@pytest.mark.parametrize("chosen", [None, {"value": 0.3, "far": 0.01, "set": "lfw", "evaluation": {}}])
def test_pairs_of_templates_are_not_taken_for_pairs_of_images(run, evaluation, chosen):
    folder = pathlib.Path(evaluation) / "ijbc"
    result = {"set": "ijbc", "protocol": "templates", "pairs": PAIRS, "same": PAIRS // 2, "auc": 0.9}
    # Templates are fewer than images: as numbers of images they would be wrong, and nobody would see it.
    write_outcome(folder, Outcome(result, _scores()), {"flip": True})
    table = {"key": range(600), "light": np.where(np.arange(600) < 25, "dark", "bright")}
    pd.DataFrame(table).to_csv(folder / "images.csv", index=False)
    card = model_card(_description(run, chosen), evaluation)
    assert "### lfw, by light" in card
    assert "### ijbc, by light" not in card
    assert "### ijbc (templates)" in card


def _wrong(similarity, same, chosen, threshold):
    """Counts and rates in a loop."""
    different = [s for s, is_same, c in zip(similarity, same, chosen) if c and not is_same]
    alike = [s for s, is_same, c in zip(similarity, same, chosen) if c and is_same]
    accepted = sum(s >= threshold for s in different) / len(different)
    rejected = sum(s < threshold for s in alike) / len(alike)
    return [str(len(different)), f"{100 * accepted:.2f} %", str(len(alike)), f"{100 * rejected:.2f} %"]


def test_threshold_and_groups(run, evaluation):
    threshold = choose_threshold(evaluation, "lfw", 0.05)
    card = model_card(_description(run, vars(threshold)), evaluation)
    scores = _scores()
    everything = _wrong(scores["similarity"], scores["same"], np.ones(PAIRS, bool), threshold.value)
    assert ["lfw", *everything] in _rows(card, "| lfw")
    dark = np.arange(60) < 25
    first, second = dark[scores["first"]], dark[scores["second"]]
    for name, chosen in (("both dark", first & second), ("both bright", ~first & ~second)):
        expected = _wrong(scores["similarity"], scores["same"], chosen, threshold.value)
        assert _rows(card, f"| {name} ") == [[name, *expected]]
    assert _rows(card, "| one of each")[0][1] == str(int((first != second)[~scores["same"]].sum()))
    # Neither names nor measurements are groups.
    assert "by person" not in card
    assert "by yaw" not in card
    assert f"cosine similarity of {threshold.value:.4f}" in card
    assert "5.00 % of 200 different pairs" in card
    assert "nothing of false accept rates below 0.015" in card


def test_small_groups_have_no_rate(run, evaluation):
    table = pd.read_csv(f"{evaluation}/lfw/images.csv")
    table["light"] = np.where(np.arange(60) < 3, "dark", "bright")
    table.to_csv(f"{evaluation}/lfw/images.csv", index=False)
    assert _rows(model_card(_description(run), evaluation), "| both dark")[0][2] == "too few"


def test_what_is_not_stored_is_said_to_be_unknown(tmp_path):
    card = model_card(_description(None))
    assert "nothing is known here of how and on what it was trained" in card
    assert "No stored evaluation was given" in card
    assert "decides nothing" in card
    assert "%" not in card


def test_no_groups(run, evaluation, tmp_path):
    for name in ("lfw/images.csv",):
        (tmp_path / "evaluation" / name).unlink()
    assert "has no groups of images" in model_card(_description(run), evaluation)


def test_what_it_tells_of_a_run_are_settings_of_a_run():
    assert set(SETTINGS) <= {field.name for field in dataclasses.fields(TrainSettings)}


def test_damaged_settings(run):
    (run / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json: cannot be read for the model card"):
        model_card(_description(run))
