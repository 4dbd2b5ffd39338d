"""When a signal to stop is a second one, and when the first is only heard twice."""

import time
from typing import Optional

# `timeout`, schedulers and launchers send one stop to a process and to its group, which makes two signals of it.
SAME_STOP_SECONDS = 2.0


class Stops:
    """Listens to the signals that ask a process to stop.

    Example:
        >>> Stops().insists()
        False
    """

    def __init__(self) -> None:
        self._first: Optional[float] = None

    def insists(self) -> bool:
        """Note a signal.

        Returns:
            Whether it comes more than `SAME_STOP_SECONDS` after the first: then somebody does not want to wait.
        """
        now = time.monotonic()
        if self._first is None:
            self._first = now
        return now - self._first > SAME_STOP_SECONDS
