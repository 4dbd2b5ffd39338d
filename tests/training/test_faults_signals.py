"""SIGTERM as clusters send it: twice; while the pipeline waits, between two fits, while evaluating, after the end."""

import os
import signal

import pytest

from ddl_tf.common import stops
from ddl_tf.common.errors import TrainingStopped
from ddl_tf.data.store import Faces
from ddl_tf.training import run as run_module
from ddl_tf.training.checkpoints import SaveForResume, Steps
from ddl_tf.training.monitoring import TrainingProgress, Verification


class Terminated(BaseException):
    """What a handler outside of training makes of SIGTERM."""


@pytest.fixture(autouse=True)
def _outside():
    def terminate(number, frame):
        raise Terminated

    before = signal.signal(signal.SIGTERM, terminate)
    yield
    signal.signal(signal.SIGTERM, before)


def signalled_in(monkeypatch, owner, name):
    """Let SIGTERM come twice, to the process and to its group, in the first call."""
    original, sent = getattr(owner, name), []

    def call(*arguments, **more):
        if not sent:
            sent.append(True)
            for _ in range(2):
                os.kill(os.getpid(), signal.SIGTERM)
        return original(*arguments, **more)

    monkeypatch.setattr(owner, name, call)


def test_whenever_it_comes_nothing_is_lost(small_run, undisturbed_outcome, monkeypatch, capfd):
    def stopped_at(step):
        with pytest.raises(TrainingStopped) as stop:
            small_run.run()
        assert stop.value.exit_code == 128 + signal.SIGTERM
        assert small_run.checkpoints()[-1] == step
        err = capfd.readouterr().err
        assert err.count("SIGTERM: stopping when this step, or this epoch's end, is done\n") == 1
        assert err.endswith(f"stopped by SIGTERM after step {step}; the same command goes on from there\n")

    # In a thread of the pipeline, while training waits for the first batch; the rest of epoch 1 is a fit of its own.
    places = ((Faces, "records", 1), (TrainingProgress, "on_train_end", 4), (Verification, "evaluate", 6))
    for owner, name, step in places:
        with monkeypatch.context() as patch:
            signalled_in(patch, owner, name)
            stopped_at(step)
    assert not (small_run.folder / "results.json").exists()
    with monkeypatch.context() as patch:
        # Training listens no longer: whoever listened before decides.
        signalled_in(patch, run_module, "plot_run")
        with pytest.raises(Terminated):
            small_run.run()
    small_run.run()
    assert small_run.outcome() == undisturbed_outcome


def test_the_handlers_of_before_come_back(monkeypatch):
    """Also with an error; they get a signal after the last step, and a second one, some seconds later."""
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    saver = SaveForResume(None, Steps(0, 1, 1), lambda: None, lambda number: number)
    with pytest.raises(KeyError), saver:
        raise KeyError
    with pytest.raises(Terminated), saver:
        signal.raise_signal(signal.SIGTERM)
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
    saver._signalled = None
    monkeypatch.setattr(stops, "SAME_STOP_SECONDS", -1.0)
    with saver:
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Terminated):
            signal.raise_signal(signal.SIGTERM)
        # What the first one asked for is done.
        saver._signalled = None
