import os
import subprocess
import sys
import threading
import time

import pytest

from ddl_tf.common.parallel import map_in_order, usable_cores


def test_order_stays_when_later_items_are_ready_first():
    def slow_first(item):
        time.sleep(0.05 if item == 0 else 0)
        return 2 * item

    assert list(map_in_order(slow_first, range(500))) == list(range(0, 1000, 2))


def test_several_threads_work():
    # A thread waits for another one: with a single one this would never end.
    meeting = threading.Barrier(2, timeout=240)
    list(map_in_order(lambda item: meeting.wait() if item in (0, 32) else None, range(64)))


def test_few_items_are_drawn_ahead():
    drawn = []
    results = map_in_order(lambda item: item, (drawn.append(n) or n for n in range(10**6)))
    assert next(results) == 0
    assert len(drawn) < 5000
    results.close()


def test_the_source_is_closed_with_it():
    closed = []

    def source():
        try:
            yield from range(10**6)
        finally:
            closed.append(True)

    results = map_in_order(lambda item: item, source())
    next(results)
    results.close()
    assert closed


def test_an_exception_comes_in_its_place():
    results = map_in_order(lambda item: 1 / (item - 40), range(100))
    with pytest.raises(ZeroDivisionError):
        list(results)


def test_usable_cores_are_those_of_the_process():
    assert 1 <= usable_cores() <= os.cpu_count()
    tell = "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))}); "
    tell += "from ddl_tf.common.parallel import usable_cores; print(usable_cores())"
    assert subprocess.run([sys.executable, "-c", tell], capture_output=True, text=True, check=True).stdout == "1\n"
