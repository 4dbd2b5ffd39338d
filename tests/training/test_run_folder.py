import dataclasses
import math
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy.integrate import trapezoid

from ddl_tf.common.errors import InputError
from ddl_tf.training import TrainSettings
from ddl_tf.training.monitoring import RunLog
from ddl_tf.training.plots import draw_distributions, plot_run
from ddl_tf.training.run_folder import RunFolder, read_json, read_log


@pytest.fixture
def folder(tmp_path):
    return RunFolder(tmp_path / "run")


@pytest.fixture
def settings(folder):
    changes = {"flip": False, "schedule": "step", "decay_epochs": [2.0, 3.0]}
    return TrainSettings(run_dir=str(folder.path), train_data=["faces"], **changes)


def test_records_settings_versions_and_a_flagfile(folder, settings):
    with folder.open(settings):
        assert read_json(folder.settings_file, dict) == dataclasses.asdict(settings)
        recorded = read_json(folder.path / "versions.json", dict).keys()
        assert {"python", "numpy", "keras", "command"} <= recorded
        assert recorded & {"tensorflow", "tensorflow-cpu"}
    lines = (folder.path / "flags.cfg").read_text().splitlines()
    assert {"--train_data=faces", "--noflip", "--decay_epochs=2.0,3.0", "--epochs=20"} <= set(lines)
    assert not [line for line in lines if line.startswith("--margin")]


def test_other_settings_only_before_the_first_checkpoint(folder, settings):
    other = dataclasses.replace(settings, learning_rate=0.5)
    with folder.open(settings):
        pass
    with folder.open(other):
        assert read_json(folder.settings_file, dict)["learning_rate"] == 0.5
    with folder.open(other), pytest.raises(InputError, match="another process"), folder.open(other):
        pass
    folder.resume.mkdir()
    with pytest.raises(InputError, match=r"--learning_rate was 0.5 and is 0.1"), folder.open(settings):
        pass
    with folder.open(other):
        pass


def test_damaged_files(folder, settings):
    folder.path.mkdir()
    for content in ("", "loss\n1\n"):
        folder.log.write_text(content)
        with pytest.raises(InputError, match=r"log.csv is damaged \("):
            read_log(folder.log)
    for content in ('{"epochs": ', "[]"):
        folder.settings_file.write_text(content)
        with pytest.raises(InputError, match=r"settings.json is damaged \("), folder.open(settings):
            pass


def test_the_best_of_the_log_is_over_the_mean_of_the_sets(folder):
    assert folder.best("auc") == -math.inf
    folder.path.mkdir()
    log = pd.DataFrame({"epoch": [1, 2, 3, 4], "a/auc": [0.9, 0.6, np.nan, 0.7], "b/auc": [0.2, 0.8, 0.99, 0.6]})
    log.to_csv(folder.log, index=False)
    assert folder.best("auc") == pytest.approx(0.7)
    assert folder.best("accuracy") == -math.inf


def test_the_log_goes_on_from_its_epoch(folder):
    folder.path.mkdir()
    pd.DataFrame({"epoch": [1, 2, 3], "loss": [3.0, 2.0, 1.0]}).to_csv(folder.log, index=False)
    log = RunLog(folder.log, first_epoch=2)
    log.set_model(SimpleNamespace(optimizer=SimpleNamespace(learning_rate=0.1)))
    log.on_epoch_end(2, {"loss": np.float32(0.5)})
    written = pd.read_csv(folder.log)
    assert list(written["epoch"]) == [1, 2, 3]
    assert list(written["loss"]) == [3.0, 2.0, 0.5]


def test_a_run_without_groups_has_curves_alone_others_their_margins(folder):
    folder.path.mkdir()
    pd.DataFrame({"epoch": [1, 2], "loss": [2.0, 1.0], "learning_rate": [0.1, 0.1]}).to_csv(folder.log, index=False)
    plot_run(folder)
    assert sorted(path.name for path in folder.path.iterdir()) == ["curves.png", "log.csv"]
    rng = np.random.default_rng(0)
    means = {"positive_0": 0.7, "negative_0": 0.1, "positive_1": 0.5}
    similarities = {name: rng.normal(mean, 0.1, 200) for name, mean in means.items()}
    # A group without negatives is drawn, without a margin.
    similarities["negative_1"] = np.empty(0)
    axes = Figure().add_subplot()
    draw_distributions(axes, similarities)
    margin = similarities["positive_0"].mean() - similarities["negative_0"].mean()
    assert axes.get_title() == f"expectation margin E[S+] - E[S-]: teacher (easy) {margin:.2f}"
    curves = [line for line in axes.lines if len(line.get_xdata()) > 2]
    assert len(curves) == 3
    for curve in curves:
        # A density: its area is 1.
        assert trapezoid(curve.get_ydata(), curve.get_xdata()) == pytest.approx(1, abs=0.01)
