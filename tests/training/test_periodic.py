import threading
import time

import numpy as np
import pytest

from ddl_tf.common.errors import InputError
from ddl_tf.training.periodic import PeriodicArrays


def make(folder, **changes):
    return PeriodicArrays(folder, **{"every": 10, "delay": 1, "kept_steps": 20, **changes})


def value(number):
    return {"x": np.array([number])}


@pytest.mark.parametrize(
    ("delay", "numbers"), [(0, {0: 0, 9: 0, 10: 1, 25: 2}), (1, {0: 0, 19: 0, 20: 1, 29: 1, 30: 2})]
)
def test_number_of_a_step(tmp_path, delay, numbers):
    arrays = make(tmp_path, delay=delay)
    assert {step: arrays.number(step) for step in numbers} == numbers


def test_a_step_waits_for_its_value(tmp_path):
    arrays = make(tmp_path)
    arrays.publish(0, value(0))
    got = []
    thread = threading.Thread(target=lambda: got.append(arrays.of_step(20)))
    thread.start()
    time.sleep(0.05)
    assert not got
    arrays.publish(1, value(1))
    thread.join(5)
    assert got[0][0] == 1
    assert got[0][1]["x"] == 1
    # The steps before keep theirs.
    assert arrays.of_step(19)[1]["x"] == 0


def test_at_the_end_nobody_waits(tmp_path):
    arrays = make(tmp_path)
    errors = []

    def wait():
        try:
            arrays.of_step(0)
        except RuntimeError as error:
            errors.append(str(error))

    thread = threading.Thread(target=wait)
    thread.start()
    arrays.close()
    thread.join(5)
    assert "training ended" in errors[0]


def test_a_resumed_run_takes_the_same_values_and_none_from_its_future(tmp_path):
    arrays = make(tmp_path)
    for number in range(5):
        arrays.publish(number, value(number))
    resumed = make(tmp_path)
    resumed.restore(34)
    assert resumed.of_step(34)[0] == 2
    assert resumed.of_step(40)[1]["x"] == 3
    assert not (tmp_path / "000004.npz").exists()
    started = make(tmp_path)
    started.restore(0)
    assert not list(tmp_path.glob("*.npz"))


def test_a_missing_or_damaged_value_is_named(tmp_path):
    arrays = make(tmp_path)
    for number in range(3):
        arrays.publish(number, value(number))
    (tmp_path / "000001.npz").write_bytes(b"no")
    with pytest.raises(InputError, match=r"000001\.npz: no arrays that NumPy can read"):
        make(tmp_path).restore(20)


def test_old_values_are_removed_but_for_those_that_an_older_checkpoint_needs(tmp_path):
    arrays = make(tmp_path)
    for number in range(12):
        arrays.publish(number, value(number))
    numbers = sorted(int(file.stem) for file in tmp_path.glob("*.npz"))
    assert numbers == list(range(6, 12))
    # 20 steps before the latest value was made.
    make(tmp_path).restore(110 - 20)
