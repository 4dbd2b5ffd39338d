from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from ddl_tf import quickstart
from ddl_tf.common.errors import InputError
from ddl_tf.evaluation.plots import Similarities
from ddl_tf.quickstart import ARCFACE, DDL, START, QuickstartSettings, main, summary


def test_the_table_has_mean_and_deviation_of_each_arm_and_of_what_ddl_adds():
    table = pd.DataFrame(
        {"arm": [START, ARCFACE, DDL] * 3, "hard AUC": [0.5, 0.6, 0.7, 0.5, 0.7, 0.9, 0.5, 0.8, 0.8]}
    ).assign(seed=np.repeat([0, 1, 2], 3))
    rows = summary(table)
    assert rows["arm"].tolist() == [START, ARCFACE, DDL, "ArcFace + DDL less ArcFace"]
    # The last is of the differences 0.1, 0.2 and 0.
    texts = ["0.500 ± 0.000", "0.700 ± 0.100", f"0.800 ± {np.std([0.7, 0.9, 0.8], ddof=1):.3f}", "0.100 ± 0.100"]
    assert rows["hard AUC"].tolist() == texts
    assert summary(table[table["seed"] == 0])["hard AUC"].tolist()[-1] == "0.100 ± 0.000"


def test_every_seed_has_three_runs_on_the_same_faces(tmp_path, monkeypatch, capsys):
    """Without training, which tests of training do."""
    runs = []

    def train(settings, strategy):
        runs.append(settings)
        result = {"accuracy": 0.5, "auc": 0.5 + len(runs) / 100, "tar": {"1e-2": 0.1}, "expectation_margin": 0.2}
        return [{"set": name, **result} for name in ("easy", "hard")]

    def similarities(settings, run):
        assert run in ("arcface", "ddl")
        return tuple(Similarities(name, np.array([0.2, 0.7]), np.array([False, True])) for name in ("easy", "hard"))

    monkeypatch.setattr(quickstart, "train", train)
    monkeypatch.setattr(quickstart, "_similarities", similarities)
    monkeypatch.setattr(quickstart, "prepare_synthetic", lambda settings: Path(settings.output).mkdir())
    main(QuickstartSettings(output=str(tmp_path), seed=4, seeds=2, processes=1))
    names = [f"{folder}{run}" for folder in ("", "seed_5/") for run in ("pretrain", "arcface", "ddl")]
    assert [run.run_dir for run in runs] == [str(tmp_path / name) for name in names]
    assert [run.seed for run in runs] == [4] * 3 + [5] * 3
    starts = [start for folder in ("", "seed_5/") for start in (None, *[str(tmp_path / f"{folder}pretrain")] * 2)]
    assert [run.init_checkpoint for run in runs] == starts
    assert [run.embedding_loss for run in runs] == ["none", "none", "ddl"] * 2
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["arm"].tolist() == [START, ARCFACE, DDL] * 2
    assert table["hard AUC"].tolist() == [0.51, 0.52, 0.53, 0.54, 0.55, 0.56]
    assert (tmp_path / "comparison.png").stat().st_size > 1000
    assert "| ArcFace + DDL less ArcFace |" in capsys.readouterr().out


def test_runs_side_by_side_wait_for_their_start(tmp_path, monkeypatch):
    """Threads stand in for the processes; the runs of a seed begin when its checkpoint is there."""
    trained = []

    def train_arm(settings, arm, seed):
        assert arm == START or (START, seed) in trained
        trained.append((arm, seed))
        return [{"arm": arm, "seed": seed}]

    monkeypatch.setattr(quickstart, "_train_arm", train_arm)
    monkeypatch.setattr(quickstart, "ProcessPoolExecutor", lambda processes, context: ThreadPoolExecutor(processes))
    settings = QuickstartSettings(output=str(tmp_path), processes=2)
    results = quickstart._train_seeds(settings, [4, 5, 6])
    arms = (START, ARCFACE, DDL)
    assert results == [{arm: [{"arm": arm, "seed": seed}] for arm in arms} for seed in (4, 5, 6)]
    assert sorted(trained) == sorted((arm, seed) for arm in arms for seed in (4, 5, 6))


def test_faces_of_other_settings_and_bad_settings_are_refused(tmp_path, monkeypatch):
    for name in ("train", "easy", "hard"):
        (tmp_path / "faces" / name).mkdir(parents=True)
    made = {"identities": 48, "images_per_identity": 10, "image_size": 32, "seed": 0}
    monkeypatch.setattr(quickstart, "read_description", lambda folder: {"made_by": {"settings": made}})
    quickstart._draw_faces(QuickstartSettings(output=str(tmp_path), identities=48))
    with pytest.raises(InputError, match="drawn with --identities=48, not 400: choose another --output"):
        main(QuickstartSettings(output=str(tmp_path)))
    for changes, flag in (({"output": None}, "--output"), ({"seeds": 0}, "--seeds must"), ({"processes": 0}, "--proc")):
        with pytest.raises(InputError, match=flag):
            QuickstartSettings(**changes)
