"""Whether a signal to stop is a second one, or the first one delivered twice."""

import time
from typing import Optional

# `timeout`, schedulers and launchers send one stop to a process and to its group, which makes two signals of it.
SAME_STOP_SECONDS = 2.0


class Stops:
    """Listens to the signals that ask a process to stop."""

    def __init__(self) -> None:
        self._first: Optional[float] = None

    def is_second(self) -> bool:
        """Note a signal; returns whether it comes so long after the first that it is another request to stop."""
        now = time.monotonic()
        if self._first is None:
            self._first = now
        return now - self._first > SAME_STOP_SECONDS
