import numpy as np
import pandas as pd
import pytest
from tiny_network import tiny_network  # noqa: F401

from ddl_tf import quickstart
from ddl_tf.common.errors import InputError
from ddl_tf.quickstart import ARCFACE, DDL, START, QuickstartSettings, main, summary


def test_the_table_has_mean_and_deviation_of_each_arm_and_of_what_ddl_adds():
    table = pd.DataFrame(
        {"arm": [START, ARCFACE, DDL] * 3, "hard AUC": [0.5, 0.6, 0.7, 0.5, 0.7, 0.9, 0.5, 0.8, 0.8]}
    ).assign(seed=np.repeat([0, 1, 2], 3))
    found = summary(table)
    assert found["arm"].tolist() == [START, ARCFACE, DDL, "ArcFace + DDL less ArcFace"]
    deviation = np.std([0.7, 0.9, 0.8], ddof=1)
    assert found["hard AUC"].tolist() == [
        "0.500 ± 0.000",
        "0.700 ± 0.100",
        f"0.800 ± {deviation:.3f}",
        # Of the differences 0.1, 0.2 and 0.
        "0.100 ± 0.100",
    ]
    assert summary(table[table["seed"] == 0])["hard AUC"].tolist()[-1] == "0.100 ± 0.000"


def test_two_seeds_from_the_faces_to_the_table(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(quickstart.tf.distribute, "MirroredStrategy", quickstart.tf.distribute.get_strategy)
    size = {"identities": 48, "images_per_identity": 4, "test_pairs": 20, "pretrain_epochs": 1, "finetune_steps": 1}
    main(QuickstartSettings(output=str(tmp_path), seeds=2, image_size=16, **size))
    printed = capsys.readouterr().out
    assert "| ArcFace + DDL less ArcFace |" in printed
    assert "Mean ± standard deviation over 2 seeds" in printed
    table = pd.read_csv(tmp_path / "comparison.csv")
    assert table["arm"].tolist() == [START, ARCFACE, DDL] * 2
    assert table["seed"].tolist() == [0] * 3 + [1] * 3
    assert (tmp_path / "comparison.png").stat().st_size > 1000
    for run in ("pretrain", "arcface", "ddl"):
        assert (tmp_path / run / "results.json").exists()
        assert (tmp_path / "seed_1" / run / "results.json").exists()


@pytest.mark.parametrize(("changes", "flag"), [({"output": None}, "--output"), ({"seeds": 0}, "--seeds must be")])
def test_bad_settings_are_named(changes, flag):
    with pytest.raises(InputError, match=flag):
        QuickstartSettings(**changes)
