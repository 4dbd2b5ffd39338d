from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from tiny_embedding import tiny_embedding
from tiny_sets import picture

from ddl_tf import quickstart, training
from ddl_tf.common.errors import InputError
from ddl_tf.evaluation import model
from ddl_tf.protocols import pair_sets
from ddl_tf.protocols.pair_sets import PairSet
from ddl_tf.quickstart import ARCFACE, DDL, START, QuickstartSettings, main, summary

ARMS = (START, ARCFACE, DDL)


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


class Threads(ThreadPoolExecutor):
    """Stands in for the processes."""

    def __init__(self, processes, *_):
        super().__init__(processes)


def test_the_runs_of_a_seed_begin_when_its_checkpoint_is_there(tmp_path, monkeypatch, capsys):
    trained = []

    def train_arm(settings, arm, seed):
        assert arm == START or (START, seed) in trained
        trained.append((arm, seed))
        return pd.DataFrame({"arm": [arm], "hard AUC": [seed / 10 + (0.05 if arm == DDL else 0)], "seed": [seed]})

    def draw(settings):
        assert {(arm, 4) for arm in ARMS} <= set(trained)
        (tmp_path / "comparison.png").touch()

    for name, stand_in in (("_train_arm", train_arm), ("_draw_comparison", draw), ("spawned_processes", Threads)):
        monkeypatch.setattr(quickstart, name, stand_in)
    monkeypatch.setattr(quickstart, "prepare_synthetic", lambda settings: Path(settings.output).mkdir(exist_ok=True))
    main(QuickstartSettings(output=str(tmp_path), seed=4, seeds=3, processes=2))
    assert sorted(trained) == sorted((arm, seed) for arm in ARMS for seed in (4, 5, 6))
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["arm"].tolist() == list(ARMS) * 3
    assert table["hard AUC"].tolist() == pytest.approx([0.4, 0.4, 0.45, 0.5, 0.5, 0.55, 0.6, 0.6, 0.65])
    assert (tmp_path / "comparison.png").exists()
    assert "| ArcFace + DDL less ArcFace | 0.050 ± 0.000 |" in capsys.readouterr().out
    # On a GPU one run at a time has it.
    monkeypatch.setattr(quickstart, "_has_gpu", lambda: True)
    monkeypatch.setattr(quickstart, "_train_seeds", lambda settings, seeds, pool: 1 / (pool._max_workers - 1))
    with pytest.raises(ZeroDivisionError):
        main(QuickstartSettings(output=str(tmp_path), seed=4, seeds=3))


def test_every_seed_has_three_runs_on_the_same_faces(tmp_path, monkeypatch):
    """Without training, which tests of training do."""
    runs = []

    def train(settings, strategy):
        runs.append(settings)
        result = {"accuracy": 0.5, "auc": 0.5 + len(runs) / 100, "tar": {"1e-2": 0.1}, "expectation_margin": 0.2}
        return [{"set": name, **result} for name in ("easy", "hard")]

    monkeypatch.setattr(training, "train", train)
    settings = QuickstartSettings(output=str(tmp_path), seed=4)
    rows = pd.concat([quickstart._train_arm(settings, arm, seed) for seed in (4, 5) for arm in ARMS])
    assert rows["hard AUC"].tolist() == pytest.approx([0.51, 0.52, 0.53, 0.54, 0.55, 0.56])
    names = [f"{folder}{run}" for folder in ("", "seed_5/") for run in ("pretrain", "arcface", "ddl")]
    assert [run.run_dir for run in runs] == [str(tmp_path / name) for name in names]
    assert [run.seed for run in runs] == [4] * 3 + [5] * 3
    starts = [start for folder in ("", "seed_5/") for start in (None, *[str(tmp_path / f"{folder}pretrain")] * 2)]
    assert [run.init_checkpoint for run in runs] == starts
    assert [run.embedding_loss for run in runs] == ["none", "none", "ddl"] * 2


def test_the_plot_shows_both_arms_on_the_easy_and_the_hard_pairs(tmp_path, monkeypatch):
    images = [picture(number) for number in range(4)]
    pair_set = PairSet("pairs", images, np.array([0, 2]), np.array([1, 3]), np.array([True, False]), np.array([0, 1]))
    loaded = []
    monkeypatch.setattr(pair_sets, "read_stored", lambda path: pair_set)
    monkeypatch.setattr(model, "load_checkpoint_embedding", lambda path: loaded.append(path) or tiny_embedding())
    quickstart._draw_comparison(QuickstartSettings(output=str(tmp_path)))
    assert loaded == [str(tmp_path / arm / "checkpoints/last.keras") for arm in ("arcface", "ddl")]
    assert (tmp_path / "comparison.png").stat().st_size > 1000


def test_faces_of_other_settings_and_bad_settings_are_refused(tmp_path, monkeypatch):
    for name in ("train", "easy", "hard"):
        (tmp_path / "faces" / name).mkdir(parents=True)
    made = {"identities": 48, "images_per_identity": 10, "image_size": 32, "seed": 0}
    monkeypatch.setattr(quickstart, "read_description", lambda folder: {"made_by": {"settings": made}})
    quickstart._draw_faces(QuickstartSettings(output=str(tmp_path), identities=48))
    with pytest.raises(InputError, match="drawn with --identities=48, not 330: choose another --output"):
        main(QuickstartSettings(output=str(tmp_path)))
    for changes, flag in (({"output": None}, "--output"), ({"seeds": 0}, "--seeds must"), ({"processes": 0}, "--proc")):
        with pytest.raises(InputError, match=flag):
            QuickstartSettings(**changes)
