"""Two workers on loopback: they train as one process with two replicas, and lose nothing when one dies or is stopped.

The clusters run side by side, started once for all tests of this file; a process that hangs ends by its own alarm.
"""

import dataclasses
import json
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tensorflow as tf
from fault_runs import run as run_alone
from fault_runs import small_settings
from own_lines import own_lines
from tiny_network import TINY

from ddl_tf.evaluation import evaluate_pairs
from ddl_tf.models import embedding_model, load_checkpoint
from ddl_tf.protocols.pair_sets import read_stored
from ddl_tf.training import TrainSettings, run

# One worker of pytest-xdist trains for all of them.
pytestmark = [pytest.mark.xdist_group("workers"), pytest.mark.heavy]

SECONDS = 400

# `python -m ddl_tf.train`, whose worker 1 raises a signal in itself after a step, once, and its launcher.
WORKER = f"""
import json, os, signal, sys
from pathlib import Path
signal.alarm({SECONDS})
from ddl_tf.common import command
from ddl_tf.training import run
from ddl_tf.models.plain import PLAIN_NETS
from ddl_tf.train import main
from ddl_tf.training import TrainSettings
from ddl_tf.training.checkpoints import SaveForResume

PLAIN_NETS["plain_small"] = {TINY}
run.plot_run = lambda folder: None
check, index = SaveForResume._check, json.loads(os.environ["TF_CONFIG"])["task"]["index"]

def check_or_fail(self, logs):
    for fault in Path(os.environ["FAULTS"]).glob(f"{{self.step}}-*") if index == 1 else ():
        fault.unlink()
        os.kill(os.getpid(), getattr(signal, fault.name.split("-")[1]))
    check(self, logs)

SaveForResume._check = check_or_fail
command.run(main, TrainSettings)
"""
LAUNCHER = """
import sys
from ddl_tf import launch
launch.GRACE = 3.0
sys.exit(launch.launch(launch.LaunchSettings(workers=2), [sys.executable, *sys.argv[1:]]))
"""


def flags(settings):
    changed = {k: v for k, v in dataclasses.asdict(settings).items() if v != getattr(TrainSettings, k, [])}
    return [
        f"--{key}={','.join(map(str, value)) if isinstance(value, list) else value}" for key, value in changed.items()
    ]


@pytest.fixture(scope="module")
def settings(small_faces, tmp_path_factory):
    """DDL beside a margin head, with all that has a state; a small rate, so that roundings do not grow."""
    rows = {"rows_per_group": 2, "pairs_per_group": 2, "augment_probability": 0.5, "augment_colour": 0.3}
    folder = tmp_path_factory.mktemp("runs") / "one_process"
    return small_settings(small_faces, folder, embedding_loss="ddl", learning_rate=0.002, **rows)


@pytest.fixture(scope="module")
def clusters(settings, tmp_path_factory):
    """Name -> (exit code, stdout, stderr, run folder).

    One is undisturbed, one is killed at step 2 and stopped at step 5, and one learns so fast that it overflows.
    """
    folder = tmp_path_factory.mktemp("clusters")
    (folder / "worker.py").write_text(WORKER)
    (folder / "launcher.py").write_text(LAUNCHER)
    started, pipes = {}, {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    margin_alone = {"rows_per_group": 0, "pairs_per_group": 0, "shuffled_rows": 8, "embedding_loss": "none"}
    for name, (faults, changes) in {
        "undisturbed": ((), {}),
        "disturbed": (("2-SIGKILL", "5-SIGTERM"), {}),
        "overflowing": ((), {**margin_alone, "learning_rate": 1e30}),
    }.items():
        faults_folder = folder / f"{name}_faults"
        faults_folder.mkdir()
        for fault in faults:
            (faults_folder / fault).touch()
        command = [sys.executable, str(folder / "launcher.py"), str(folder / "worker.py")]
        command += flags(dataclasses.replace(settings, run_dir=str(folder / name), **changes))
        environment = {**os.environ, "FAULTS": str(faults_folder), "PYTHONPATH": os.pathsep.join(sys.path)}
        started[name] = subprocess.Popen(command, env=environment, **pipes)
    made = {}
    for name, process in started.items():
        out, err = process.communicate(timeout=SECONDS + 60)
        made[name] = process.returncode, out, err, folder / name
    return made


@pytest.fixture(scope="module")
def one_process(settings, two_replicas):
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "plot_run", lambda folder: None)
        return run_alone(settings, two_replicas), Path(settings.run_dir)


def test_two_workers_train_as_one_process_with_two_replicas(clusters, one_process, settings):
    code, out, err, run_dir = clusters["undisturbed"]
    assert code == 0, err
    expected_results, expected_dir = one_process
    weights, expected_weights = (
        load_checkpoint(folder / "checkpoints/last.keras").weights for folder in (run_dir, expected_dir)
    )
    for weight, expected in zip(weights, expected_weights):
        # Statistics of batch normalisation have values of up to some hundreds.
        tolerance = 1e-5 * max(1.0, np.abs(expected).max())
        np.testing.assert_allclose(weight, expected, rtol=0, atol=tolerance, err_msg=weight.name)
    log, expected_log = (pd.read_csv(folder / "log.csv") for folder in (run_dir, expected_dir))
    losses = [column for column in expected_log if column.endswith("loss")]
    np.testing.assert_allclose(log[losses], expected_log[losses], rtol=1e-4)
    (result,) = map(json.loads, out.splitlines())
    assert result == json.loads((run_dir / "results.json").read_text())[0]
    # They are of the checkpoint, whose statistics are averaged over the replicas, each of which has its own.
    model = embedding_model(load_checkpoint(run_dir / "checkpoints/last.keras"))
    evaluation = evaluate_pairs(model, read_stored(settings.pairs[0]))
    for measure, tolerance in (("mean_same", 1e-3), ("mean_different", 1e-3), ("expectation_margin", 1e-2)):
        assert result[measure] == pytest.approx(expected_results[0][measure], rel=tolerance)
        assert result[measure] == pytest.approx(evaluation[measure], rel=1e-4)


def test_only_the_chief_writes(clusters, one_process):
    _, _, err, run_dir = clusters["undisturbed"]
    of_worker_1 = [line[len("worker 1: ") :] for line in err.splitlines() if line.startswith("worker 1: ")]
    assert not own_lines("\n".join(of_worker_1))
    # Two processes, each of which made its own, would leave more of them.
    for folder in ("tensorboard/train", "tensorboard/similarities"):
        assert len(list((run_dir / folder).glob("events*"))) == 1
    names, expected = (
        {path.relative_to(folder) for path in folder.rglob("*") if "events" not in path.name}
        for folder in (run_dir, one_process[1])
    )
    assert names == expected


def test_a_killed_worker_is_started_again_and_a_signal_to_one_stops_all(clusters):
    code, out, err, _ = clusters["disturbed"]
    assert code == 128 + 15, err
    assert out == ""
    assert "worker 1 ended with exit code 137; all start again (1 of 3)" in err
    assert re.findall(r"resumed at step \d+", err) == ["resumed at step 1"]
    assert err.count("stopped by SIGTERM after step 5; the same command goes on from there") == 1
    # It ends where the undisturbed is.
    disturbed, undisturbed = (
        tf.train.load_checkpoint(str(clusters[name][3] / "resume/ckpt-5")) for name in ("disturbed", "undisturbed")
    )
    assert disturbed.get_variable_to_shape_map() == undisturbed.get_variable_to_shape_map()
    compared = 0
    for name in undisturbed.get_variable_to_shape_map():
        value, expected = disturbed.get_tensor(name), undisturbed.get_tensor(name)
        if "moving_" in name:
            # Averaged over the workers when it was read back, and again at the end.
            np.testing.assert_allclose(value, expected, rtol=1e-5, atol=1e-6, err_msg=name)
        elif not name.endswith("_CHECKPOINTABLE_OBJECT_GRAPH") and "keras_api/metrics" not in name:
            np.testing.assert_array_equal(value, expected, err_msg=name)
            compared += 1
    assert compared > 40


def test_a_loss_that_is_not_finite_stops_all_workers_for_good(clusters):
    code, out, err, run_dir = clusters["overflowing"]
    assert (code, out) == (2, ""), err
    assert "all start again" not in err
    for worker in ("", "worker 1: "):
        assert len(re.findall(rf"^{worker}python.*: .*loss is (nan|-?inf).* at step \d; the last good", err, re.M)) == 1
    assert not (run_dir / "results.json").exists()
