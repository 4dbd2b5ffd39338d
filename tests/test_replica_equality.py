"""What `replica_case.py` trains does not depend on the number of replicas."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from ddl_tf.common.keras_version import IS_KERAS_3

# One worker of pytest-xdist trains for all of them.
pytestmark = pytest.mark.xdist_group("replica_equality")

SCRIPT = Path(__file__).parent / "support" / "replica_case.py"


@pytest.fixture(scope="module")
def results(tmp_path_factory):
    """In a process of its own, for it has its own devices."""
    output = tmp_path_factory.mktemp("replicas") / "results.npz"
    path = os.pathsep.join([str(SCRIPT.parents[2]), os.environ.get("PYTHONPATH", "")])
    command, environment = [sys.executable, str(SCRIPT), str(output)], {**os.environ, "PYTHONPATH": path}
    done = subprocess.run(command, stderr=subprocess.PIPE, text=True, env=environment)
    assert done.returncode == 0, done.stderr[-3000:]
    return dict(np.load(output))


def of_case(results, case):
    return {name[len(case) + 1 :]: value for name, value in results.items() if name.startswith(f"{case}/")}


def assert_close(results, case, tolerance):
    single, replicated = of_case(results, f"{case}/1"), of_case(results, f"{case}/2")
    assert single.keys() == replicated.keys()
    assert len(single) > 5
    for name, value in single.items():
        if IS_KERAS_3 and name.endswith("_loss"):
            # The terms, in whose log a smaller last batch counts as much as the others.
            continue
        np.testing.assert_allclose(replicated[name], value, rtol=tolerance, atol=tolerance, err_msg=name)


def test_the_last_batch_leaves_a_replica_without_rows(results):
    assert results["rows"].tolist() == [[8, 8], [1, 0]]


@pytest.mark.parametrize("case", ["branches", "sync", "whole"])
def test_weights_and_logs_are_those_of_one_device(results, case):
    """Of losses, metrics and heads that look beyond their rows; of synchronised batch norm; of micro-batches."""
    assert_close(results, case, 1e-5)


def test_mixed_precision(results):
    """The first step, whose loss scale is too large, is left out."""
    assert_close(results, "mixed", 5e-3)
    first, second = results["mixed/1/log/loss"]
    assert second < first - 1


def test_plain_batch_norm_is_finite_and_other(results):
    plain, sync = of_case(results, "plain/2"), of_case(results, "mixed/2")
    for name, value in plain.items():
        assert np.all(np.isfinite(value)), name
    assert max(np.abs(value - sync[name]).max() for name, value in plain.items() if name.startswith("weight/")) > 1e-3


def test_a_resumed_run_is_the_same_bit_for_bit(results):
    """With a loss scale; each replica's statistics are saved as their mean, which rounds; training reads none."""
    trained, statistics = results["resumed"]
    assert trained == 0.0
    assert statistics < 1e-6
