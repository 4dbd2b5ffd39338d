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
    facts = {"images": 4812, "identities": 37, "made_by": {"source": "synthetic faces, train"}}
    (data / "dataset.json").write_text(json.dumps(facts))
    settings = {"train_data": [str(data), "gone/set"], "backbone": "iresnet18", "head": "cosface", "seed": 5}
    (folder / "settings.json").write_text(json.dumps({**settings, "epochs": 20}))
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
    result = {"set": "lfw", "protocol": "pairs", "pairs": 4000, "same": 2000, "accuracy": 0.9125, "eer": 0.0871}
    result |= {"tar": {"1e-2": 0.8123, "1e-3": 0.7321}, "threshold": 0.33, "intervals": {"accuracy": [0.8912, 0.9345]}}
    write_outcome(folder / "lfw", Outcome(result, _scores()), {"flip": True, "command": "evaluate"})
    light = np.where(np.arange(60) < 25, "dark", "bright")
    table = {"key": range(60), "person": np.arange(60), "light": light, "yaw": np.linspace(0, 1, 60)}
    pd.DataFrame(table).to_csv(folder / "lfw" / "images.csv", index=False)
    result = {"set": "scface", "protocol": "identification", "rank_1": {"far": 0.4567}}
    write_outcome(folder / "scface", Outcome(result, {"rank": np.ones(3, int)}), {"flip": True})
    return str(folder)


def _description(run, threshold=None):
    checkpoint = str(run / "checkpoints" / "best.keras") if run else None
    facts = {"model": "faces", "version": 3, "dim": 64, "input_size": [112, 96], "flip": True, "checkpoint": checkpoint}
    return {**facts, "threshold": threshold, "created": "2026-01-02", "versions": {"ddl_tf": "0.1.0"}}


def _rows(card, start):
    """The cells of the table row that begins so."""
    lines = [line for line in card.splitlines() if line.startswith(start)]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


def test_facts_come_from_the_run_and_the_evaluation(run, evaluation):
    card = model_card(_description(run), evaluation)
    data = f"`{run.parent}/faces`"
    assert _rows(card, f"| {data}") == [[data, "4,812", "37", "synthetic faces, train"]]
    assert _rows(card, "| `gone/set`")[0][1] == "not there any more"
    facts = [["Backbone", "iresnet18"], ["Seed", "5"], ["Epochs in the log", "13"], ["Input", "112 x 96 pixels, RGB"]]
    assert all(row in _rows(card, "| ") for row in facts)
    assert set(SETTINGS) <= {field.name for field in dataclasses.fields(TrainSettings)}
    row = _rows(card, "| lfw")[0]
    assert row == ["lfw", "4,000", "91.25 % [89.12, 93.45]", "81.23 %", "too few pairs", "8.71 %"]
    assert _rows(card, "| rank_1 far") == [["rank_1 far", "0.4567"]]
    assert "Evaluated with the mirror image | lfw, scface" in card


def test_pairs_of_templates_are_not_taken_for_pairs_of_images(run, evaluation):
    folder = pathlib.Path(evaluation) / "ijbc"
    result = {"set": "ijbc", "protocol": "templates", "pairs": PAIRS, "same": PAIRS // 2, "auc": 0.9}
    # Templates are fewer than images: as numbers of images they would be wrong, and nobody would see it.
    write_outcome(folder, Outcome(result, _scores()), {"flip": True})
    table = {"key": range(600), "light": np.where(np.arange(600) < 25, "dark", "bright")}
    pd.DataFrame(table).to_csv(folder / "images.csv", index=False)
    card = model_card(_description(run, {"value": 0.3, "far": 0.01, "set": "lfw", "evaluation": {}}), evaluation)
    assert "### lfw, by light" in card
    assert "### ijbc, by light" not in card
    assert "### ijbc (templates)" in card


def _wrong(chosen, threshold):
    cells, scores = [], _scores()
    for is_same in (False, True):
        pairs = zip(scores["similarity"], scores["same"], chosen)
        wrong = [(similarity >= threshold) != is_same for similarity, same, used in pairs if used and same == is_same]
        cells += [str(len(wrong)), f"{100 * sum(wrong) / len(wrong):.2f} %"]
    return cells


def test_threshold_and_groups(run, evaluation):
    threshold = choose_threshold(evaluation, "lfw", 0.05)
    card = model_card(_description(run, vars(threshold)), evaluation)
    scores = _scores()
    assert ["lfw", *_wrong(np.ones(PAIRS, bool), threshold.value)] in _rows(card, "| lfw")
    dark = np.arange(60) < 25
    first, second = dark[scores["first"]], dark[scores["second"]]
    for name, chosen in (("both dark", first & second), ("both bright", ~first & ~second)):
        assert _rows(card, f"| {name} ") == [[name, *_wrong(chosen, threshold.value)]]
    assert _rows(card, "| one of each")[0][1] == str(int((first != second)[~scores["same"]].sum()))
    # Neither names nor measurements are groups.
    assert "by person" not in card
    assert "by yaw" not in card
    assert f"cosine similarity of {threshold.value:.4f}" in card
    assert "5.00 % of 200 different pairs" in card
    assert "nothing of false accept rates below 0.015" in card
    # Small groups, or none, have no rate.
    table = pd.read_csv(f"{evaluation}/lfw/images.csv")
    table["light"] = np.where(np.arange(60) < 3, "dark", "bright")
    table.to_csv(f"{evaluation}/lfw/images.csv", index=False)
    assert _rows(model_card(_description(run), evaluation), "| both dark")[0][2] == "too few"
    pathlib.Path(evaluation, "lfw", "images.csv").unlink()
    assert "has no groups of images" in model_card(_description(run), evaluation)


def test_what_is_not_stored_is_unknown_and_what_is_damaged_is_refused(run):
    card = model_card(_description(None))
    for words in ("nothing is known here of how", "No stored evaluation was given", "decides nothing"):
        assert words in card
    assert "%" not in card
    (run / "settings.json").write_text("{")
    with pytest.raises(InputError, match=r"settings\.json: cannot be read for the model card"):
        model_card(_description(run))
