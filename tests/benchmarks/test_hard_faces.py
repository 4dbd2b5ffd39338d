"""A whole experiment with stand-ins for `tune` and the networks, and what its settings say."""

import dataclasses
from pathlib import Path

import all_layers
import numpy as np
import occlusion
import pandas as pd
import pose
import pytest
import resolution
from hard_faces import experiment as module
from hard_faces import identification, report
from hard_faces.experiment import Experiment, Settings, run_experiment, tune_settings
from tiny_sets import picture, write_recordio

from ddl_tf.common.errors import InputError
from ddl_tf.data.store import Faces
from ddl_tf.evaluation import load_sets
from ddl_tf.miniatures.pairs import write_bin, write_cfp
from ddl_tf.runtimes.views import unit
from ddl_tf.tuning.arms import ARMS

ARM_VALUES = {"none": "", "margin": "", "triplet": 3.0, "ddl": 10.0, "ddl_detached": 0.3}
TINY = Experiment("tiny", {"16px": "resolution:16", "8px": "resolution:8"}, measured_only=("8px",))


@pytest.fixture
def settings(tmp_path):
    (tmp_path / "celeba").mkdir()
    labels = [0, 1, 1, 2, 2, 2]
    write_recordio(tmp_path / "celeba", [(label, picture(place, 32)) for place, label in enumerate(labels)])
    write_cfp(tmp_path / "cfp")
    write_bin(tmp_path)
    names = {"celeba": "celeba", "cfp": "cfp", "lfw_bin": "lfw.bin", "start": "start.keras", "run_dir": "run"}
    paths = {**names, "results": "results", "images": "images"}
    return Settings(**{name: str(tmp_path / path) for name, path in paths.items()}, seeds=3, least_images=2)


@pytest.fixture
def tuned(monkeypatch):
    """Stands in for `tune` and the networks: of DDL's two arms one is chosen, and the other is better when compared."""
    random, calls = np.random.default_rng(0), []

    def tune(given):
        calls.append(given)
        rows = []
        for stage, seeds in (("choose", [0]), ("compare", [1, 2, 3])):
            for name in (pair_set.name for pair_set in load_sets(given)):
                for arm, value in ARM_VALUES.items():
                    for seed in seeds:
                        tar = 0.5 + (0.1 if arm == ("ddl" if stage == "choose" else "ddl_detached") else 0.0)
                        numbers = {"tar@1e-3": tar + random.normal(0, 0.001), "tar@1e-2": 0.8, "auc": 0.9}
                        known = {"stage": stage, "arm": arm, "value": value, "seed": seed, "set": name}
                        rows.append({**known, **numbers})
        Path(given.run_dir).mkdir(exist_ok=True)
        pd.DataFrame(rows).to_csv(Path(given.run_dir) / "results.csv", index=False)
        return "Some verdict."

    def embed(checkpoint, images, train_blocks, features):
        return {name: unit(random.normal(size=(len(encoded), 8))) for name, encoded in images.items()}

    monkeypatch.setattr(module, "tune", tune)
    monkeypatch.setattr(identification, "_embeddings", embed)
    return calls


def test_the_whole(settings, tuned, tmp_path, capsys):
    run_experiment(TINY, settings)
    (given,) = tuned
    train = [Faces([path]) for path in given.train_data]
    # Two people of CelebA with two images or more; two frontal images of each of two people in two folds.
    assert [faces.index["group"].value_counts().to_dict() for faces in train] == [
        {0: 5, 1: 5, 2: 5},
        {0: 8, 1: 8, 2: 8},
    ]
    assert [Path(path).name for path in (*given.pairs, *given.test_pairs)] == ["sharp", "16px", "8px"] * 2
    assert given.hard == ["16px"]
    people = [set(pair_set.people) for pair_set in load_sets(given)]
    assert people == [{"005", "006"}] * 3
    table = pd.read_csv(tmp_path / "results/tiny.csv")
    assert table.columns.tolist() == report.COLUMNS
    assert len(table) == len(ARM_VALUES) * 3 * 3
    assert table.notna().drop(columns="value").all(axis=None)
    for kind in ("results", "tradeoff"):
        assert (tmp_path / f"images/{kind}_tiny.png").stat().st_size > 10_000
    (panel,) = report.tradeoff_figure(report.numbers(tmp_path / "run"), "sharp", ["16px"]).axes
    means = table[table["arm"] == "ddl"].groupby("set")["tar@1e-3"].mean()
    points = [tuple(container[0].get_xydata()[0]) for container in panel.containers]
    assert points[list(ARM_VALUES).index("ddl")] == pytest.approx((means["sharp"], means["16px"]), abs=1e-5)
    out = capsys.readouterr().out
    measured = table[(table["arm"] == "ddl") & (table["set"] == "8px")]
    for column in ("tar@1e-3", "auc", "rank1"):
        assert f"{measured[column].mean():.4f} ± {measured[column].std():.4f}" in out
    # Of the arms with DDL, that which the people of the choice say, not those of the comparison.
    for words in ("Some verdict.", "| triplet | embedding_weight 3 |", "TAR@1e-3 of DDL, with", "rank-1 of DDL, with"):
        assert words in out
    differences = report.differences_table(report.numbers(tmp_path / "run"), "ddl", ["8px"], "rank1")
    assert differences["less that of"].tolist() == [ARMS[arm].title for arm in ("none", "margin", "triplet")]
    # The same again makes and measures nothing again, and says the same.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "run/sets").rglob("*")}
    rates = (tmp_path / "run/identification.csv").read_bytes()
    run_experiment(TINY, settings)
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "run/sets").rglob("*")} == before
    assert (tmp_path / "run/identification.csv").read_bytes() == rates


def test_a_difference_without_chance_has_no_interval():
    rows = [
        {"arm": arm, "seed": seed, "set": name, "rank1": value + (0.1 * seed if name == "8px" and arm == "ddl" else 0)}
        for arm, value in (("none", 0.25), ("ddl", 0.5))
        for seed in (1, 2)
        for name in ("sharp", "8px")
    ]
    (row,) = report.differences_table(pd.DataFrame(rows), "ddl", ["sharp", "8px"], "rank1").to_numpy().tolist()
    assert row[:2] == ["no fine-tuning", "+0.2500"]
    assert row[2].startswith("+0.4000 [")


@pytest.mark.parametrize("experiment", [pose.POSE, resolution.RESOLUTION, occlusion.OCCLUSION], ids=lambda e: e.name)
def test_experiments(experiment, tmp_path):
    settings = Settings(start="start.keras", arms=["ddl"], steps=3, test_folds=[6, 7])
    given = tune_settings(experiment, settings, tmp_path)
    made = module.sets_of(experiment, settings)
    wanted = [*given.train_data, *given.pairs, *given.test_pairs, str(tmp_path / "sets/distractors")]
    assert {str(Path(path).relative_to(tmp_path / "sets")) for path in wanted} <= set(made)
    assert given.test_pairs == [str(tmp_path / f"sets/pairs_6_7/{name}") for name in ("sharp", *experiment.students)]
    assert (given.steps_per_epoch, given.choose_by, given.arms) == (3, "tar@1e-3", ["ddl"])
    assert set(given.hard) == set(experiment.students) - {"8px"}


def test_all_layers_train_with_the_values_that_were_chosen(tmp_path):
    rows = [("margin", np.nan, "sharp"), ("triplet", 0.3, "sharp"), ("triplet", 0.3, "8px")]
    table = pd.DataFrame(rows, columns=["arm", "value", "set"]).assign(stage="compare", seed=1)
    table.to_csv(tmp_path / "results.csv", index=False)
    settings = all_layers.AllLayersSettings(
        start="start.keras", run_dir=str(tmp_path), arms=["triplet", "margin"], seeds=2
    )
    runs = all_layers.runs_of(settings)
    assert [run.name for run in runs] == ["triplet_0.3_1", "margin_1", "triplet_0.3_2", "margin_2"]
    for run in runs:
        assert run.settings.run_dir == str(tmp_path / "all_layers/compare" / run.name)
        assert (run.settings.train_blocks, run.settings.feature_cache, run.settings.pairs_per_group) == (None, None, 12)
        assert [Path(path).parent.name for path in run.settings.pairs] == ["pairs_4_5"] * 4
    assert [run.settings.embedding_weight for run in runs] == [0.3, 1.0, 0.3, 1.0]
    table.assign(arm="lora", value=8.0).to_csv(tmp_path / "results.csv", index=False)
    (run, _) = all_layers.runs_of(dataclasses.replace(settings, arms=["lora"]))
    assert run.settings.lora_rank == 8
    assert isinstance(run.settings.lora_rank, int)
    table.to_csv(tmp_path / "results.csv", index=False)
    with pytest.raises(InputError, match=r"--arms=ddl: .* has compared margin, triplet"):
        all_layers.runs_of(dataclasses.replace(settings, arms=["ddl"]))


@pytest.mark.parametrize(
    "changes, words",
    [
        ({"test_folds": [3, 4]}, "--choose_folds=3: give folds of CFP that are in no other"),
        ({"train_folds": [1, 1]}, "--train_folds=1,1: give folds"),
        ({"choose_folds": []}, "--choose_folds=: give folds"),
        ({"least_images": 1}, "--least_images must be at least 2, got 1"),
    ],
)
def test_wrong_settings(changes, words):
    with pytest.raises(InputError, match=words):
        dataclasses.replace(Settings(), **changes)


def test_what_is_missing(settings):
    with pytest.raises(InputError, match="--cfp is missing"):
        run_experiment(TINY, dataclasses.replace(settings, cfp=None))
