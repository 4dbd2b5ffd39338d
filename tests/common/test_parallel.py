import os
import subprocess
import sys
import threading

import pytest

from ddl_tf.common.parallel import map_in_order, usable_cores


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


def test_usable_cores_are_those_of_the_process():
    assert 1 <= usable_cores() <= os.cpu_count()
    code = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    code += "from ddl_tf.common.parallel import usable_cores; print(usable_cores())"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "1\n"
