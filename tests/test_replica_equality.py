"""What `replica_case.py` trains does not depend on the number of replicas."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

SCRIPT = Path(__file__).parent / "support" / "replica_case.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """By number of replicas; a process for each, side by side."""
    folder = tmp_path_factory.mktemp("replicas")
    path = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    processes = {
        number: subprocess.Popen(
            [sys.executable, str(SCRIPT), str(number), str(folder / f"{number}.npz")],
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": path},
        )
        for number in (1, 2, 4)
    }
    try:
        for process in processes.values():
            _, errors = process.communicate()
            assert process.returncode == 0, errors[-3000:]
    finally:
        for process in processes.values():
            process.kill()
    return {number: dict(np.load(folder / f"{number}.npz")) for number in processes}


def assert_close(results, replicas, case, tolerance):
    names = [name for name in results[1] if name.startswith(f"{case}/")]
    assert len(names) > 5
    for name in names:
        one, many = results[1][name], results[replicas][name]
        np.testing.assert_allclose(many, one, rtol=tolerance, atol=tolerance, err_msg=name)


def test_the_last_batch_leaves_a_replica_without_rows(results):
    assert results[2]["rows"].tolist() == [[8, 8], [5, 4]]
    assert results[4]["rows"].tolist() == [[4, 4, 4, 4], [3, 3, 3, 0]]


@pytest.mark.parametrize("replicas", [2, 4])
@pytest.mark.parametrize("case", ["branches", "sync", "whole"])
def test_weights_and_logs_are_those_of_one_replica(results, replicas, case):
    """Of every head and loss; of synchronised batch norm, recomputed or not; of steps in micro-batches."""
    assert_close(results, replicas, case, 1e-5)


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision(results, policy):
    assert_close(results, 2, policy, 5e-3)


def test_steps_go_on_when_the_loss_scale_has_come_down(results):
    """The first step, with a scale that is too large, is left out."""
    first, second = results[1]["mixed_float16/log/loss"]
    assert second < first - 1


@pytest.mark.parametrize("replicas", [2, 4])
def test_plain_batch_norm_is_finite_and_other(results, replicas):
    names = [name for name in results[replicas] if name.startswith("plain/")]
    for name in names:
        assert np.all(np.isfinite(results[replicas][name])), name
    weights = [name for name in names if "/weight/" in name]
    different = [np.abs(results[replicas][n] - results[1][n.replace("plain", "sync")]).max() for n in weights]
    assert max(different) > 1e-3


@pytest.mark.parametrize("case", ["sync", "whole", "mixed_float16"])
def test_a_resumed_run_is_the_same_bit_for_bit(results, case):
    assert results[2][f"{case}/resumed"].tolist() == [0.0, 0.0]


def test_a_resumed_run_with_plain_batch_norm(results):
    """Each replica's moving statistics are saved as their mean, which rounds; training does not read them."""
    trained, statistics = results[2]["plain/resumed"]
    assert trained == 0.0
    assert statistics < 1e-6
