import pytest

from ddl_tf.common import stops


@pytest.mark.parametrize(
    ("times", "second"),
    [([100.0], [False]), ([100.0, 100.0, 101.9, 102.1], [False, False, False, True]), ([0.0, 9.0], [False, True])],
)
def test_only_a_later_signal_is_a_second_one(monkeypatch, times, second):
    clock = iter(times)
    monkeypatch.setattr(stops.time, "monotonic", lambda: next(clock))
    listener = stops.Stops()
    assert [listener.is_second() for _ in times] == second
