import pytest
from clock import Clock

from ddl_tf.client.errors import RequestError, with_retries


def run(errors, timeout=100.0, retries=10, uniform=lambda low, high: high, cost=0.0):
    clock, left, errors = Clock(), [], list(errors)

    def send(seconds):
        left.append(seconds)
        clock.now += cost
        if errors:
            raise RequestError(*errors.pop(0))
        return "answer"

    try:
        answer = with_retries(send, timeout, retries, clock=clock, sleep=clock.sleep, uniform=uniform)
    except RequestError as error:
        answer = error
    return answer, clock.waits, left


DOWN, FULL = ("UNAVAILABLE", "starting"), ("RESOURCE_EXHAUSTED", "queue is full")


def test_waits():
    answer, waits, left = run([DOWN] * 8)
    assert answer == "answer"
    assert waits == pytest.approx([0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 5.0, 5.0])
    # Each attempt may take what is left.
    assert left == pytest.approx([100 - sum(waits[:n]) for n in range(9)])
    # They are drawn from zero on.
    _, waits, _ = run([DOWN] * 3, uniform=lambda low, high: low + 0.25 * (high - low))
    assert waits == pytest.approx([0.025, 0.05, 0.1])


def test_the_end_of_repeating():
    answer, waits, left = run([DOWN] * 9, retries=2)
    assert (answer.status, answer.attempts, len(left), len(waits)) == ("UNAVAILABLE", 3, 3, 2)
    # None after the deadline.
    answer, waits, left = run([FULL] * 9, timeout=1.0, cost=0.3)
    assert (answer.status, answer.attempts) == ("RESOURCE_EXHAUSTED", 3)
    assert waits == pytest.approx([0.1, 0.2])
    assert left == pytest.approx([1.0, 0.6, 0.1])
    # What does not pass is not repeated.
    too_large = ("RESOURCE_EXHAUSTED", "Received message larger than max (5000000 vs. 4194304)")
    statuses = ("NOT_FOUND", "INVALID_ARGUMENT", "DEADLINE_EXCEEDED", "INTERNAL", "HTTP 502")
    for error in (*((status, "Bad Gateway") for status in statuses), too_large):
        answer, waits, _ = run([error])
        assert (answer.status, answer.attempts, waits) == (error[0], 1, [])
