import random

import pytest
from clock import Clock

from ddl_tf.client import errors
from ddl_tf.client.errors import RequestError, with_retries


def test_waits_and_the_end_of_repeating(monkeypatch):
    def run(failures, timeout=100.0, retries=10, uniform=lambda low, high: high, cost=0.0):
        """Returns the answer or the error, the waits, and what each attempt may take."""
        clock, left, failures = Clock(), [], iter(failures)
        monkeypatch.setattr(errors, "time", clock)
        monkeypatch.setattr(random, "uniform", uniform)

        def send(seconds):
            left.append(seconds)
            clock.now += cost
            for failure in failures:
                raise RequestError(*failure)
            return "answer"

        try:
            answer = with_retries(send, timeout, retries)
        except RequestError as error:
            answer = error
        return answer, clock.waits, left

    down, full = ("UNAVAILABLE", "starting"), ("RESOURCE_EXHAUSTED", "queue is full")
    answer, waits, left = run([down] * 8)
    assert answer == "answer"
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    # Each attempt may take what is left.
    assert left == pytest.approx([100 - sum(waits[:n]) for n in range(9)])
    # They are drawn from zero on.
    _, waits, _ = run([down] * 3, uniform=lambda low, high: low + 0.25 * (high - low))
    assert waits == pytest.approx([0.025, 0.05, 0.1])
    answer, waits, left = run([down] * 9, retries=2)
    assert (answer.status, answer.attempts, len(left), len(waits)) == ("UNAVAILABLE", 3, 3, 2)
    # None after the deadline.
    answer, waits, left = run([full] * 9, timeout=1.0, cost=0.3)
    assert (answer.status, answer.attempts) == ("RESOURCE_EXHAUSTED", 3)
    assert waits == pytest.approx([0.1, 0.2])
    assert left == pytest.approx([1.0, 0.6, 0.1])
    # What does not pass is not repeated.
    too_large = "Received message larger than max (5000000 vs. 4194304)"
    for status, message in (("DEADLINE_EXCEEDED", "late"), ("HTTP 502", "Bad"), ("RESOURCE_EXHAUSTED", too_large)):
        answer, waits, _ = run([(status, message)])
        assert (answer.status, answer.attempts, waits) == (status, 1, [])
