"""The launcher with workers that are small programs; those that train are in training/test_workers.py."""

import json
import os
import signal
import subprocess
import sys

import pytest

from ddl_tf import launch
from ddl_tf.common.errors import InputError

SECONDS = 60

# A worker: it notes each of its starts, and does what the file of its number and start says.
WORKER = f"""
import json, os, signal, sys, time
from pathlib import Path
signal.alarm({SECONDS})
folder = Path(sys.argv[1])
index = json.loads(os.environ["TF_CONFIG"])["task"]["index"]
start = len(list(folder.glob(f"{{index}}.started.*")))
(folder / f"{{index}}.started.{{start}}").write_text(os.environ["TF_CONFIG"])
print("hello", flush=True)
plan = folder / f"{{index}}.plan.{{start}}"
if plan.exists():
    exec(plan.read_text())
"""
LAUNCHER = """
import os, sys
from ddl_tf import launch
from ddl_tf.common import stops
stops.SAME_STOP_SECONDS = 0.0
launch.GRACE, launch.OTHER_MACHINES = 1.0, 0.1
settings = launch.LaunchSettings(**eval(sys.argv[1]))
sys.exit(launch.launch(settings, [sys.executable, *sys.argv[2:]]))
"""
WAIT = "time.sleep(600)"


@pytest.fixture
def start(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    (tmp_path / "launcher.py").write_text(LAUNCHER)

    def started(plans, **settings):
        """Start with what worker i does in its start n: (i, n) -> Python."""
        for (index, number), plan in plans.items():
            (tmp_path / f"{index}.plan.{number}").write_text(plan)
        program = [str(tmp_path / "launcher.py"), repr(settings), str(tmp_path / "worker.py"), str(tmp_path)]
        pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
        return subprocess.Popen([sys.executable, *program], **pipes)

    return started


def result(process):
    out, err = process.communicate(timeout=SECONDS)
    return process.returncode, out, err


def starts(tmp_path, index):
    return len(list(tmp_path.glob(f"{index}.started.*")))


def test_workers_know_of_each_other_and_their_output_is_told_apart(start, tmp_path):
    code, out, err = result(start({}, workers=2))
    assert (code, out, err) == (0, "hello\n", "worker 1: hello\n")
    configs = [json.loads((tmp_path / f"{index}.started.0").read_text()) for index in (0, 1)]
    assert configs[0]["cluster"] == configs[1]["cluster"]
    addresses = configs[0]["cluster"]["worker"]
    assert len(set(addresses)) == 2
    assert all(address.startswith("127.0.0.1:") for address in addresses)
    assert [config["task"] for config in configs] == [{"type": "worker", "index": index} for index in (0, 1)]


def test_all_start_again_when_one_is_killed(start, tmp_path):
    killed = "os.kill(os.getpid(), signal.SIGKILL)"
    plans = {(1, 0): killed, (0, 0): WAIT, (1, 1): "sys.exit(75)", (0, 1): WAIT, (1, 2): "sys.exit(7)"}
    code, _, err = result(start(plans, workers=2, max_restarts=2))
    # It gives up after so many restarts.
    assert code == 7
    assert "worker 1 ended with exit code 137; all start again (1 of 2)" in err
    assert "worker 1 ended with exit code 75; all start again (2 of 2)" in err
    assert (starts(tmp_path, 0), starts(tmp_path, 1)) == (3, 3)


@pytest.mark.parametrize("codes", [(2, 75), (75, 2), (143, 143)])
def test_a_mistake_of_the_user_or_a_signal_to_one_worker_is_no_crash(start, tmp_path, codes):
    """The other, whose peer is gone, may end first."""
    code, _, _ = result(start({(k, 0): f"sys.exit({codes[k]})" for k in (0, 1)}, workers=2))
    assert code == min(codes[0], codes[1], 143)
    assert starts(tmp_path, 0) == 1


def test_a_signal_is_passed_on(start, tmp_path):
    orderly = "signal.signal(signal.SIGINT, lambda *_: sys.exit(130)); print('ready', flush=True); time.sleep(600)"
    process = start({(0, 0): orderly, (1, 0): orderly}, workers=2)
    # Worker 1 prints on stderr, worker 0 on stdout; then both listen.
    for stream, ready in ((process.stdout, "ready\n"), (process.stderr, "worker 1: ready\n")):
        assert ready in (stream.readline(), stream.readline())
    process.send_signal(signal.SIGINT)
    assert result(process)[0] == 130
    assert starts(tmp_path, 0) == 1


def test_the_second_signal_kills(start, tmp_path):
    deaf = "signal.signal(signal.SIGTERM, lambda *_: print('deaf', flush=True)); print('ready', flush=True)\n"
    deaf += "while True: time.sleep(600)"
    process = start({(0, 0): deaf}, workers=1)
    assert [process.stdout.readline() for _ in range(2)] == ["hello\n", "ready\n"]
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "deaf\n"
    process.send_signal(signal.SIGTERM)
    assert result(process)[0] == 143


@pytest.mark.skipif(sys.platform != "linux", reason="what ends a worker with its launcher is Linux's")
def test_workers_stop_when_the_launcher_is_killed(start, tmp_path):
    note = f"signal.signal(signal.SIGTERM, lambda *_: (Path({str(tmp_path)!r}) / 'stopped').touch() or sys.exit(143))"
    process = start({(0, 0): f"{note}; print('ready', flush=True); time.sleep(600)"}, workers=1)
    assert [process.stdout.readline() for _ in range(2)] == ["hello\n", "ready\n"]
    process.kill()
    # The worker has the same stdout, which ends when both are gone.
    assert process.communicate(timeout=SECONDS)[0] == ""
    assert (tmp_path / "stopped").exists()


def test_one_worker_of_several_machines(start, tmp_path):
    hosts = ["10.0.0.1:4000", "10.0.0.2:4000"]
    code, out, _ = result(start({(1, 0): "sys.exit(75)"}, hosts=hosts, index=1))
    assert (code, out) == (0, "hello\nhello\n")
    assert (starts(tmp_path, 0), starts(tmp_path, 1)) == (0, 2)
    config = {"cluster": {"worker": hosts}, "task": {"type": "worker", "index": 1}}
    assert json.loads((tmp_path / "1.started.0").read_text()) == config


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, "--workers=None and --hosts=: give --workers"),
        ({"workers": 2, "hosts": ["a:1"]}, "--workers=2 and --hosts=a:1"),
        ({"workers": -1}, "--workers must be at least 1, got -1"),
        ({"hosts": ["a:1", "b:1"]}, "--index=None: give the position"),
        ({"hosts": ["a:1", "b:1"], "index": 2}, "--index=2: give the position of this machine in the 2 --hosts"),
        ({"workers": 2, "index": 0}, "--index=0 goes with --hosts"),
        ({"workers": 2, "max_restarts": -1}, "--max_restarts must not be negative, got -1"),
        ({"workers": 2}, "TF_CONFIG is set: with it run `python -m ddl_tf.train` itself"),
    ],
)
def test_bad_settings_are_named(settings, message, monkeypatch):
    monkeypatch.setenv("TF_CONFIG", "{}")
    with pytest.raises(InputError, match=message):
        launch.LaunchSettings(**settings)


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--workers=2", "--"], "nothing to train: give the flags of ddl_tf.train after --; see --help"),
        (["--epochs=1"], "Unknown command line flag 'epochs'"),
    ],
)
def test_the_command_line_is_parted(arguments, line):
    program = [sys.executable, "-m", "ddl_tf.launch", *arguments]
    done = subprocess.run(program, capture_output=True, text=True, timeout=SECONDS, env=dict(os.environ))
    assert done.returncode == 2
    assert done.stderr.startswith(f"python -m ddl_tf.launch: error: {line}")
    assert len(done.stderr.splitlines()) == 1
