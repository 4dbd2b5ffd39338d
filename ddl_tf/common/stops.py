"""The signals that ask a process to stop: who listens to them, and whether one is a second one or the first again."""

import contextlib
import signal
import time
from collections.abc import Callable, Iterator
from types import FrameType
from typing import Optional, Union

# `timeout`, schedulers and launchers send one stop to a process and to its group, which makes two signals of it.
SAME_STOP_SECONDS = 2.0


@contextlib.contextmanager
def listening(handler: Union[Callable[[int, Optional[FrameType]], None], signal.Handlers]) -> Iterator[None]:
    """Let a handler have SIGINT and SIGTERM, and at the end those of before."""
    handlers = {number: signal.signal(number, handler) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, before in handlers.items():
            signal.signal(number, before)


class Stops:
    """Tells a second request to stop from the first one."""

    def __init__(self) -> None:
        self._first: Optional[float] = None

    def is_second(self) -> bool:
        """Note a signal; returns whether it comes so long after the first that it is another request to stop."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
        return now - self._first > SAME_STOP_SECONDS
