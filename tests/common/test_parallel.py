import os
import pickle
import signal
import subprocess
import sys
import threading
import time

import pytest

from ddl_tf.common.errors import TrainingStopped
from ddl_tf.common.parallel import map_in_order, usable_cores
from ddl_tf.training.checkpoints import StoppedBySignal


def test_order_stays_when_later_items_are_ready_first():
    # Item 0 waits for a later one: with a single thread this would never end.
    meeting = threading.Barrier(2, timeout=240)

    def double(item):
        if item in (0, 32):
            meeting.wait()
        return 2 * item

    assert list(map_in_order(double, range(500))) == list(range(0, 1000, 2))


def test_few_items_are_drawn_ahead_and_the_source_is_closed():
    drawn, closed = [], []

    def source():
        try:
            for number in range(10**6):
                drawn.append(number)
                yield number
        finally:
            closed.append(True)

    results = map_in_order(lambda item: 1 / (item - 40), source())
    assert next(results) == -1 / 40
    assert len(drawn) < 5000
    # An error comes in its place.
    with pytest.raises(ZeroDivisionError):
        list(results)
    results.close()
    assert closed


def test_usable_cores_are_those_of_the_process(monkeypatch):
    monkeypatch.setattr(os, "sched_getaffinity", lambda process: {3})
    assert usable_cores() == 1


def test_processes_end_when_the_one_that_started_them_is_killed(tmp_path):
    script = tmp_path / "pool.py"
    script.write_text(
        """
import os, time
from ddl_tf.common.errors import TrainingStopped
from ddl_tf.common.parallel import spawned_processes

if __name__ == "__main__":
    with spawned_processes(1, int) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        time.sleep(600)
"""
    )
    parent = subprocess.Popen([sys.executable, str(script)], stdout=subprocess.PIPE, text=True)
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGKILL)
    parent.wait()
    end = time.monotonic() + 60
    while is_running(child) and time.monotonic() < end:
        time.sleep(0.05)
    assert not is_running(child)


def test_processes_are_stopped_with_the_one_that_a_signal_reaches(tmp_path):
    """What they do would else be waited for, however long it takes."""
    script = tmp_path / "pool.py"
    script.write_text(
        """
import os, signal, time
from ddl_tf.common.errors import TrainingStopped
from ddl_tf.common.parallel import spawned_processes

def stop(number, frame):
    raise KeyboardInterrupt

if __name__ == "__main__":
    signal.signal(signal.SIGTERM, stop)
    with spawned_processes(1, int) as pool:
        print(pool.submit(os.getpid).result(), flush=True)
        pool.submit(time.sleep, 3600).result()
"""
    )
    parent = subprocess.Popen(
        [sys.executable, str(script)], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    )
    child = int(parent.stdout.readline())
    parent.send_signal(signal.SIGTERM)
    assert parent.wait(120) != 0
    assert not is_running(child)


def test_what_is_raised_in_a_process_arrives_as_it_was():
    stopped = pickle.loads(pickle.dumps(StoppedBySignal(signal.SIGTERM, 7)))
    assert isinstance(stopped, TrainingStopped)
    assert (str(stopped), stopped.exit_code) == ("stopped by SIGTERM after step 7", 128 + signal.SIGTERM)


def is_running(process):
    """Whether a process works still; one that has ended may wait for someone to ask how."""
    try:
        with open(f"/proc/{process}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
